"""Secrets: a wrapper that cannot print itself, and the port that keeps them."""

from __future__ import annotations

import hmac
from typing import Any, Protocol


class Secret:
    """A string that shows itself only to `reveal()`: repr, str, format, pickle and JSON give nothing away.

    Not a str subclass, because f-strings would print it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def matches(self, other: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self._value.encode(), other.encode())

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(...)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._value)

    def __hash__(self) -> int:
        return hash(("Secret", self._value))


def reveal_secret(value: Any) -> str:
    """For an encoder of records that keep secrets (`enc_hook`). Anything else: NotImplementedError, as msgspec asks."""
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"{type(value).__name__} is not kept in a record")


def wrap_secret(kind: type, value: Any) -> Secret:
    """For a decoder of such records (`dec_hook`). Anything else: NotImplementedError, as msgspec asks."""
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(f"{kind.__name__} is not kept in a record")


class Secrets(Protocol):
    """Named secrets, each a list of values so that they can be rotated: the first is used to sign, all to verify."""

    async def get(self, name: str) -> list[Secret]:
        """The values, newest first; empty when there is no such secret."""

    async def put(self, name: str, values: list[Secret]) -> None:
        """Replace the values. Durable when it returns."""
