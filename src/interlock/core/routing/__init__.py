"""Which provider next, and why."""
