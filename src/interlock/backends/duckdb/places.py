"""A folder of one process's own, among those of others. What a killed process left is removed by the next that comes.

A folder is held by a lock on the file beside it, which goes with the process however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
from pathlib import Path
from typing import IO

HELD = ".held"


class Place:
    """Nothing is written before `take`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = secrets.token_hex(8)
        self.folder = root / self._name
        self._lock: IO[bytes] | None = None

    def take(self) -> None:
        """Make the folder, and remove those that nobody holds any more. Blocks while it does. Safe to repeat."""
        if self._lock is None:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._root.glob(f"*{HELD}"):
                _remove_if_left(left)
            self._lock = _held(self._root / f"{self._name}{HELD}")
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def leave(self) -> None:
        """Remove the folder. Safe to repeat."""
        if self._lock is not None:
            _remove(Path(self._lock.name))
            self._lock.close()
            self._lock = None


def _held(path: Path) -> IO[bytes]:
    while True:
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        # Somebody who tidied up had it between those two lines.
        file.close()


def _remove_if_left(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)


def _remove(held: Path) -> None:
    """The folder first: while its lock is there, whoever is killed here leaves it to the next."""
    shutil.rmtree(held.with_suffix(""), ignore_errors=True)
    held.unlink(missing_ok=True)
