"""`python -m interlock.entrypoints.cli`: the command line without its script."""

from interlock.entrypoints.cli.main import main

main()
