"""Finding a payment from whatever is known of it."""
