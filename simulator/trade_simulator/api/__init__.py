"""The REST interface: parse, authenticate, ask the exchange, answer in Bybit's shapes."""
