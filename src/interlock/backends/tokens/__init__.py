"""Signed tokens: JWS by joserfc, keys from the Secrets port, keys of external issuers over HTTP."""
