"""The audit: every order and execution at the exchange, and every key, against what the gateway's journal says."""
