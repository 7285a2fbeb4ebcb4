"""Core decides: one folder per feature, no IO, no clock, no randomness, no framework."""
