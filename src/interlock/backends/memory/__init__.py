"""The ports in plain dictionaries: for tests and for the simulation. Nothing survives the process."""
