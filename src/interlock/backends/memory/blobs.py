"""Blobs in a dict."""

from __future__ import annotations

from interlock.core.kernel.blobs import check_key


class MemoryBlobs:
    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, key: str, content: bytes) -> bool:
        check_key(key)
        if key in self._blobs:
            return False
        self._blobs[key] = bytes(content)
        return True

    async def get(self, key: str) -> bytes | None:
        check_key(key)
        return self._blobs.get(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        return sorted(key for key in self._blobs if key.startswith(prefix) and key > after)[:limit]
