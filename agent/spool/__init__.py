"""The spool: the agent's events, flights and cursors in one SQLite file, durable first."""
