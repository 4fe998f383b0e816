"""How a log is written: by one process, for peers that come through sockets of their own, and seen by a witness."""
