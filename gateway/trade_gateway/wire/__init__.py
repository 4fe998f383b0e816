"""The bot-facing wire: what bytes may come in, what they mean, and what bytes go out. Pure; no I/O, no clock."""
