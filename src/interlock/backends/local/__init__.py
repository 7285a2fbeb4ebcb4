"""What this machine offers: its clock, its randomness and its file system."""
