"""Interlock: a payments platform that cannot move money twice."""

__version__ = "0.1.0"
