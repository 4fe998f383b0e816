"""The console: the page that a person uses, in a process that holds no exchange, cluster or store credential."""
