"""Documents on DocumentDB, or whatever else speaks the MongoDB protocol."""
