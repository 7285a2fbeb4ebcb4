"""Everything durable in one SQLite file, for one machine."""
