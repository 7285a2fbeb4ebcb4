"""Service level objectives: what was promised, how much of it is used up, and when somebody is to be told."""
