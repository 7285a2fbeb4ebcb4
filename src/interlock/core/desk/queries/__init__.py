"""SQL over what happened: rows exported from events, read-only queries, a library of them, and saved ones."""
