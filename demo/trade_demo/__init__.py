"""Starts the whole stack on the simulated exchange and shows what happens."""
