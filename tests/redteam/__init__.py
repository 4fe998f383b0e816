"""A package, so that the stack that all its attacks share is stopped after the last of them."""
