"""Folders with many stored payments: made once, kept outside the tree, made anew when they no longer fit."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from bench import machine
from bench.contestants.interlock import Interlock
from bench.course import Course
from bench.histories.filling import fill
from bench.histories.template import Template
from bench.provider import Provider
from interlock.bootstrap import DATABASE_FILE
from tests.counterparts.paths import CACHE

HOME = CACHE / "bench-histories"
READ_BYTES = 8 * 2**20
COPIED_MAX = 200_000
"""Larger ones are raced in place, for copying them takes longer than the race; they grow by what is made in it."""
GROWN_MAX = 0.15
"""... and by at most this share before they are made anew."""
AGE_MAX_S = 5 * 86_400
"""Their idempotency records expire after a week; then the janitor would be at work, which is another measurement."""


class History:
    """A folder with `payments` in it, ready to be opened by a platform."""

    def __init__(self, payments: int, folder: Path, *, is_copy: bool) -> None:
        self.payments = payments
        self.folder = folder
        self.is_copy = is_copy

    @property
    def bytes_per_payment(self) -> float:
        return machine.disk_bytes(self.folder / DATABASE_FILE) / (self.payments + 1)

    def note_growth(self, payments: int) -> None:
        """So many payments were added to the kept folder."""
        if not self.is_copy:
            notes = json.loads(_notes(self.payments).read_text())
            notes["grown"] += payments
            _notes(self.payments).write_text(json.dumps(notes))


class Histories:
    """Makes and hands out histories. One payment is made by the platform itself, and is the mould of all others."""

    def __init__(self, folder: Path, provider: Provider, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._copies = 0
        self._mould = folder / "mould"
        contestant = Interlock(self._mould, provider, cores=machine.BOTH)
        try:
            course = Course(provider)
            course.lap(contestant, seconds=0.05, warmup_s=0.0, connections=1, requests_max=1)
        finally:
            contestant.stop()
        with sqlite3.connect(self._mould / DATABASE_FILE) as database:
            self._shape = Template(database).shape
        database.close()

    def open(self, payments: int) -> History:
        """A history of its own for small ones, the kept one itself for large ones."""
        kept = HOME / str(payments)
        if not self._is_good(payments):
            self._say(f"making {payments:,} stored payments")
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self._mould, kept)
            fill(kept, payments)
            _notes(payments).write_text(json.dumps({"shape": self._shape, "made_at": time.time(), "grown": 0}))
        if payments > COPIED_MAX:
            _read_once(kept / DATABASE_FILE)
            return History(payments, kept, is_copy=False)
        self._copies += 1
        copy = self._folder / f"history {payments} {self._copies}"
        shutil.copytree(kept, copy, ignore=shutil.ignore_patterns("notes.json"))
        os.sync()  # or the race's commits would wait for the copy's blocks, which the system still writes out
        return History(payments, copy, is_copy=True)

    def _is_good(self, payments: int) -> bool:
        try:
            notes = json.loads(_notes(payments).read_text())
        except (FileNotFoundError, ValueError):
            return False
        is_young = time.time() - notes["made_at"] < AGE_MAX_S
        return notes["shape"] == self._shape and is_young and notes["grown"] <= payments * GROWN_MAX


def _read_once(file: Path) -> None:
    """Have the system hold what it can of it, as it does of a file that has been in use for long."""
    with file.open("rb") as content:
        while content.read(READ_BYTES):
            pass


def _notes(payments: int) -> Path:
    """Written last, so that half a history does not count."""
    return HOME / str(payments) / "notes.json"
