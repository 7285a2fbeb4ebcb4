"""Telling merchants what happened: endpoints, and signed deliveries that are repeated until they arrive."""
