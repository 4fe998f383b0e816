"""`trade-gateway doctor`: looks at everything that must be right before the first order, and says what to do."""
