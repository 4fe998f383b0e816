"""How a log leaves: bundles that prove themselves, plain lines, tables for analysis."""
