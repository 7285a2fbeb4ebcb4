"""What DocumentDB does on bad days, which no stand-in does: calls and collections that answer by a script."""

from __future__ import annotations

from typing import Any

from pymongo.errors import BulkWriteError

from interlock.backends.mongo.calls import Calls
from tests.clocks import ManualClock


class HurriedClock(ManualClock):
    """Time passes as soon as somebody waits."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class Script:
    """Each call takes the next line: an answer to give, or an error to raise. The last line stays."""

    def __init__(self, *lines: Any) -> None:
        self.lines = list(lines)
        self.calls: list[tuple[Any, ...]] = []

    async def __call__(self, *given: Any) -> Any:
        self.calls.append(given)
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        if isinstance(line, Exception):
            raise line
        return line


class ScriptedRows:
    """A collection of the driver whose writes go by a script."""

    def __init__(self, *lines: Any) -> None:
        self.script = Script(*lines)

    async def bulk_write(self, operations: list[Any], *, ordered: bool) -> Any:
        assert not ordered
        return await self.script(*operations)


def calls_of(clock: ManualClock | None = None) -> Calls:
    return Calls(clock=clock or HurriedClock(), random=lambda: 0.5)


def refused(*codes: int, concern: bool = False) -> BulkWriteError:
    """As the driver says that the writes at 0, 1, ... were refused with these codes, zero being none."""
    said = [{"index": at, "code": code, "errmsg": "customer cus_1"} for at, code in enumerate(codes) if code]
    return BulkWriteError(
        {"writeErrors": said, "writeConcernErrors": [{"code": 64, "errmsg": "waiting"}] if concern else []}
    )
