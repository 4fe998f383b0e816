"""Where secrets stand that a kill destroys: files of this machine, Vault or OpenBao, or both."""
