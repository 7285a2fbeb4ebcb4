"""Requests to addresses that strangers chose, and to the issuer at which people sign in."""
