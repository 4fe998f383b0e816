"""The watchdog's hands: gateway, executor, bot, alerts, and the sign of life. Each with bounds of its own."""
