"""Turns at the write lock of one file, between processes.

SQLite gives its write lock to whoever asks at the right moment, so a process that commits without a pause keeps others
out for as long as it has work. Here each passes a turnstile before it asks: an `flock` on a file beside the database. Who
waits for SQLite's lock stands in the turnstile, and nobody overtakes. The lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

SUFFIX = "-turn"
_LOOK_EVERY_S = 0.005


class Turnstile:
    def __init__(self, database: Path) -> None:
        """Raises OSError."""
        path = database.with_name(database.name + SUFFIX)
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._inside = False

    def enter(self) -> bool:
        """Whether we stand in it now, or did already. Waits for nobody."""
        if not self._inside:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._inside = True
        return True

    def enter_within(self, timeout_s: float) -> bool:
        """As `enter`, but waits, and nothing else happens in this thread meanwhile: for opening the file."""
        until = time.monotonic() + timeout_s
        while not self.enter():
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def leave(self) -> None:
        if self._inside:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._inside = False

    def close(self) -> None:
        """Safe to repeat."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
