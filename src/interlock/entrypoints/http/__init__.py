"""HTTP: requests to commands, answers to bytes. The routes are data; one dispatcher serves them and one generator describes them."""
