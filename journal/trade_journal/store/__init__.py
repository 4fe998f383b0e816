"""Where a log is kept: one file of SQLite, or a schema in PostgreSQL, behind one port."""
