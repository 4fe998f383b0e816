"""A simulated security key: for tests, and for people who try the demo and own none. No service imports it."""
