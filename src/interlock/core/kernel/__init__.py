"""Words every feature shares: money, ids, time, errors, events and the ports to the outside."""
