"""The kill executor: holds the exit key, listens on no port, and takes risk away."""
