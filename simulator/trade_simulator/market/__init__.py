"""The market of the simulated exchange: a price path, candles, and synthetic makers and takers around it."""
