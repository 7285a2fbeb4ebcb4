"""The Blobs port: files that are written once."""

from __future__ import annotations

import re
from typing import Protocol

from interlock.core.kernel.errors import Invalid

WORD_MAX = 200
KEY_MAX = 1_000
_KEY = re.compile(rf"(?!\.+(?:/|\Z))[\w.-]{{1,{WORD_MAX}}}(?:/(?!\.+(?:/|\Z))[\w.-]{{1,{WORD_MAX}}})*", re.ASCII)


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


def check_key(key: str) -> None:
    """For adapters, before anything else: they all refuse the same keys. Raises Invalid."""
    if len(key) > KEY_MAX or _KEY.fullmatch(key) is None:
        raise Invalid(f"{key[:80]!r} is not a blob key")
