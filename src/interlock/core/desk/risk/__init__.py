"""Money that needs somebody: what is at risk now, and what an incident touched."""
