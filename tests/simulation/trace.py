"""What happened, in order: kept as values while it runs, hashed for comparison, and made readable when somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple


class Entry(NamedTuple):
    at_s: float
    who: str
    what: str
    detail: tuple[object, ...]

    def __str__(self) -> str:
        detail = " ".join(str(one) for one in self.detail)
        return f"{self.at_s:14.3f}  {self.who:10} {self.what:18} {detail}".rstrip()


class Trace:
    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is virtual time in seconds."""
        self._now = now
        self.entries: list[Entry] = []
        self._closed = False

    def add(self, who: str, what: str, *detail: object) -> None:
        if not self._closed:
            self.entries.append(Entry(self._now(), who, what, detail))

    def close(self) -> None:
        """What is said while everything is put away is no part of it."""
        self._closed = True

    def hash(self) -> str:
        """The same for two runs in which the same things happened in the same order at the same instants."""
        whole = blake2b(digest_size=16)
        for entry in self.entries:
            whole.update(repr(entry).encode())
        return whole.hexdigest()

    def lines(self, *, about: str = "", last: int | None = None) -> list[str]:
        """Readable; those that name `about`, all deaths and faults around them, or the last ones."""
        shown = [
            entry
            for entry in self.entries
            if not about or entry.what in ("fault", "died", "started") or about in " ".join(map(str, entry.detail))
        ]
        return [str(entry) for entry in (shown if last is None else shown[-last:])]
