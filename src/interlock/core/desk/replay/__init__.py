"""Telling something once more: webhooks to merchants, events to one consumer group, dead letters to their queue."""
