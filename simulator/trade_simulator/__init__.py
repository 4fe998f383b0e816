"""A simulated Bybit V5 exchange: REST, the three WebSockets, accounts, keys, faults and a market that moves."""
