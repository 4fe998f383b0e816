"""What the gateway knows of the account at the exchange: the pure view, and the streams and readings that feed it."""
