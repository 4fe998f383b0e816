"""The three WebSockets: public market data, private account data, order entry."""
