"""The independent risk breaker: reads the account with its own key and signs the lease."""
