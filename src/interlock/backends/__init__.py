"""Backends remember and carry: one folder per technology."""
