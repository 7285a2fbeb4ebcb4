"""Blobs in a dict."""

from __future__ import annotations

import re

from interlock.core.kernel.errors import Invalid

_WORD = re.compile(r"[A-Za-z0-9._-]{1,200}")
_KEY_MAX = 1_000


class MemoryBlobs:
    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, key: str, content: bytes) -> bool:
        _check(key)
        if key in self._blobs:
            return False
        self._blobs[key] = bytes(content)
        return True

    async def get(self, key: str) -> bytes | None:
        _check(key)
        return self._blobs.get(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        return sorted(key for key in self._blobs if key.startswith(prefix) and key > after)[:limit]


def _check(key: str) -> None:
    words = key.split("/")
    if len(key) > _KEY_MAX or not all(_WORD.fullmatch(word) and word.strip(".") for word in words):
        raise Invalid(f"{key[:80]!r} is not a blob key")
