"""Reference pages made from the source they describe: `python -m docs.generate`, and `--check` to find stale ones."""
