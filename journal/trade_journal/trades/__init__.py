"""What the bot's own database says of its trades, followed and written down, and the lessons of a person."""
