"""Secrets in a dict."""

from __future__ import annotations

from interlock.core.kernel.secrets import Secret


class MemorySecrets:
    def __init__(self) -> None:
        self._values: dict[str, list[Secret]] = {}

    def __repr__(self) -> str:
        return "MemorySecrets()"

    async def get(self, name: str) -> list[Secret]:
        return list(self._values.get(name, ()))

    async def put(self, name: str, values: list[Secret]) -> None:
        self._values[name] = list(values)
