"""The Vault port: small secrets that are kept elsewhere, sealed under a key that never leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Vault(Protocol):
    async def seal(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """`context` says what this is and whose; it is not secret. Raises Invalid for what is too long, StoreUnavailable."""

    async def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Raises Invalid for what was not sealed under this key and context, or was changed since; StoreUnavailable."""
