"""Alerts of other tools: received, proved, ruled on, and kept until somebody has dealt with them."""
