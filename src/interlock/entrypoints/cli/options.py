"""Options that many commands share, and how settings become an exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from interlock.config import Settings, SettingsError
from interlock.entrypoints.local import READY_FILE, Ready

Data = Annotated[Path | None, typer.Option(help="Folder of the stored data.", show_default=".interlock")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="TOML file of settings.")]
Json = Annotated[bool, typer.Option("--json", help="For a machine to read.")]

WIDTH = None if sys.stdout.isatty() else 400
"""Tables are folded to a person's window, and never for a pipe."""
out = Console(soft_wrap=True, highlight=False, width=WIDTH)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def settings_of(data: Path | None, file: Path | None = None, **overrides: Any) -> Settings:
    """Settings of this invocation. Every fault is written, and the exit status is 2."""
    try:
        return Settings.load(
            file=file, environment=os.environ, overrides={"data": None if data is None else str(data), **overrides}
        )
    except SettingsError as error:
        for fault in error.faults:
            err.print(fault, markup=False)
        raise typer.Exit(2) from None


def running(data: Path | None) -> Ready:
    """How to reach the platform that runs on this folder; exit status 1 if none does."""
    path = Path(settings_of(data).data) / READY_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ready)
    except (OSError, msgspec.DecodeError):
        fail(f"no platform runs on {path.parent}: start one with `interlock up`")


def fail(why: str) -> NoReturn:
    """What was asked for could not be done."""
    err.print(why, markup=False)
    raise typer.Exit(1)
