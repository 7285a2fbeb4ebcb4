"""Amazon States Language on one machine: workflows over the Store and Queue ports."""
