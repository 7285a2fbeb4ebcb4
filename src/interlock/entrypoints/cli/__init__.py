"""The command line. Exit status 0: done; 1: what was asked for failed; 2: wrong usage or settings."""

from interlock.entrypoints.cli.main import main

__all__ = ["main"]
