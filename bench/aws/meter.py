"""Write units, counted at the wire: what DynamoDB charges for each request that leaves for it.

The rules: an item written alone costs one unit for each kilobyte begun of the larger of what it was and what it is; in a
transaction twice that, a condition check as much. An entry of a secondary index is charged one unit for each kilobyte begun when
it appears, changes or goes, two when its keys change, and none when nothing of it changed. An emulator does not know them.
Sources: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (checked 2026-11-27).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

KB = 1_024
INDEX_OVERHEAD_BYTES = 100
"""Of each entry, beside what it projects."""
Row = Mapping[str, Any]


def row_bytes(row: Row) -> int:
    return sum(len(name.encode()) + value_bytes(value) for name, value in row.items())


def value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return (len(content.lstrip("-").rstrip("0")) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + value_bytes(one) for one in content)
        case _:
            return 1


def units(size: int) -> int:
    return max(1, math.ceil(size / KB))


class Meter:
    """A DynamoDB client that adds up what passes through it."""

    def __init__(self, client: Any, indexes: Sequence[str]) -> None:
        self._client, self._indexes = client, indexes
        self._rows: dict[tuple[str, str], Row] = {}
        self.units: dict[str, int] = {}
        """By who asked: see `ask_as`."""
        self.who = lambda: "consumers"

    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> Any:
            answer = await getattr(self._client, operation)(**request)
            spent = self._spent(operation, request)
            if spent:
                self.units[self.who()] = self.units.get(self.who(), 0) + spent
            return answer

        return call

    def _spent(self, operation: str, request: Mapping[str, Any]) -> int:
        match operation:
            case "put_item":
                return self._written(request["Item"], factor=1)
            case "delete_item":
                return self._deleted(request["Key"], factor=1)
            case "transact_write_items":
                return sum(self._in_transaction(item) for item in request["TransactItems"])
            case _:
                return 0

    def _in_transaction(self, item: Mapping[str, Any]) -> int:
        ((kind, request),) = item.items()
        if kind == "Put":
            return self._written(request["Item"], factor=2)
        if kind == "Delete":
            return self._deleted(request["Key"], factor=2)
        return 2 * units(row_bytes(self._rows.get(_place(request["Key"]), {})))

    def _written(self, row: Row, *, factor: int) -> int:
        before = self._rows.get(_place(row), {})
        self._rows[_place(row)] = row
        return factor * units(max(row_bytes(row), row_bytes(before))) + self._entries(before, row)

    def _deleted(self, key: Row, *, factor: int) -> int:
        before = self._rows.pop(_place(key), {})
        return factor * units(row_bytes(before)) + self._entries(before, {})

    def _entries(self, before: Row, after: Row) -> int:
        total = 0
        for name in self._indexes:
            was, now = self._entry(before, name), self._entry(after, name)
            if was != now:
                total += sum(units(row_bytes(one) + INDEX_OVERHEAD_BYTES) for one in (was, now) if one)
        return total

    def _entry(self, row: Row, name: str) -> Row:
        """What the index holds of a row: keys alone."""
        keys = ("pk", "sk", f"{name}_p", f"{name}_s")
        return {key: row[key] for key in keys} if f"{name}_p" in row else {}


def _place(row: Row) -> tuple[str, str]:
    return row["pk"]["S"], row["sk"]["S"]
