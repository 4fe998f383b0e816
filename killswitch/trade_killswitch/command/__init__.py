"""`trade-kill`: the kill switch from a terminal, by a touch of a security key."""
