"""Interlock: a payments platform that cannot move money twice."""
