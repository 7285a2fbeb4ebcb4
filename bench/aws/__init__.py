"""What the platform costs on AWS: `python -m bench.aws`."""
