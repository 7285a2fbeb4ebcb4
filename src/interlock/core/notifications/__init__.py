"""Verified news from providers, stored before it is acted upon."""
