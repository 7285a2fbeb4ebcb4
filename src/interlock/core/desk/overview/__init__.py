"""How payments go now: success, speed and money for each provider and method."""
