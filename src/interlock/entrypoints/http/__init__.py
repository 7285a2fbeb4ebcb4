"""HTTP: requests to commands, answers to bytes. Routes are data: one dispatcher serves them, one generator describes them."""
