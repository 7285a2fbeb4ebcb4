"""The Blobs port: files that are written once."""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    async def put(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` is taken: True if stored, False (and nothing changed) if taken.

        Durable when it returns. Keys are `/`-separated words of ASCII letters, digits, `-`, `_`, `.`, at most 200
        characters each and 1000 in all; anything else, an empty word or a word of dots only is Invalid. Of two writers of
        one key exactly one gets True.
        """

    async def get(self, key: str) -> bytes | None:
        """The content, or None. Raises Invalid for a bad key."""

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Keys that start with `prefix`, in bytewise order, behind `after`."""
