"""The journal: append-only, gapless rows that are durable before anyone acts on them."""
