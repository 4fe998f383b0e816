"""The policy: limits, closed deny codes and the pure decision on an order. No I/O, no clock, no randomness."""
