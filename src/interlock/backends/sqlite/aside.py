"""Long reads, beside the event loop: connections of their own in threads, which see the latest commit and cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

READ_MAX_S = 20.0
"""A longer one is interrupted: as long as it reads, the file's log cannot be emptied."""
IDLE_MAX = 2
"""So many connections are kept for the next reads, with the pages that they know."""
_STEPS_BETWEEN_LOOKS = 10_000
_BUSY_S = 1.0
_PAGES_KNOWN_KB = 16_000


class AsideReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What `job` returns. Raises sqlite3.Error."""
        return await asyncio.to_thread(self._read, job)

    def close(self) -> None:
        """Reads under way go on to their end."""
        self._closed = True
        while self._idle:
            self._idle.popleft().close()

    def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._idle.popleft()
        except IndexError:
            connection = self._opened()
        latest = time.monotonic() + READ_MAX_S
        try:
            connection.set_progress_handler(lambda: time.monotonic() > latest, _STEPS_BETWEEN_LOOKS)
            found = job(connection)
        except BaseException:
            connection.close()
            raise
        if self._closed or len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)
        return found

    def _opened(self) -> sqlite3.Connection:
        # One thread at a time has it, seldom the same one.
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = 1")
        connection.execute(f"PRAGMA cache_size = -{_PAGES_KNOWN_KB}")
        return connection
