"""Who may say what: process keys, the key ring, signed leases and provenance tags. Formats and verification only."""
