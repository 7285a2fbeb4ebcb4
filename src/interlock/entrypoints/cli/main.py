"""`interlock`: every command in one place."""

from __future__ import annotations

import typer

from interlock.entrypoints.cli import up

app = typer.Typer(
    name="interlock",
    help="A payments platform that cannot move money twice.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
app.command()(up.up)
app.command()(up.token)


def main() -> None:
    app()
