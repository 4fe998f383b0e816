"""The audit trail: append-only rows, durable before anything that depends on them is sent."""
