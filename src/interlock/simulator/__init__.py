"""A payment provider with its own books, a real HTTP server and faults on demand."""
