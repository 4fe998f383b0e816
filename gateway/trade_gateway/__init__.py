"""The only process that holds an order key: checks, journals and forwards each order."""
