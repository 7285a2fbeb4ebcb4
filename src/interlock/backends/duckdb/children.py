"""The parent's side of a process that runs queries: start it, ask it one thing at a time, end it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from interlock.backends.duckdb.child import HEAD
from interlock.core.kernel.errors import Unavailable

CHILD = Path(__file__).with_name("child.py")
START_TIMEOUT_S = 20.0
GRACE_S = 1.0
"""Beyond its time a query gets this long to heed the interruption; then its process is killed."""
ENVELOPE_BYTES = 1_000_000
"""Beside the rows, at most: names of columns, and the message's own words."""


class ChildDied(Exception):
    """The process ended, said something that is no answer, or did not answer in time; it is gone now."""

    def __init__(self, *, late: bool = False) -> None:
        super().__init__("too late" if late else "gone")
        self.late = late


class Child:
    """Serves one question at a time. After ChildDied it serves none."""

    def __init__(self, process: asyncio.subprocess.Process, memory_bytes: int) -> None:
        self._process = process
        self.memory_bytes = memory_bytes
        self.questions = 0

    @classmethod
    async def start(cls, database: Path, *, memory_bytes: int) -> Child:
        """Ready when it returns. Raises Unavailable if it does not come up."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(CHILD),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=tempfile.gettempdir(),
                env={"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            )
        except OSError as error:
            raise Unavailable(f"no process for queries can be started: {error.strerror}") from error
        child = cls(process, memory_bytes)
        try:
            await child._exchange(_hello(database, memory_bytes), timeout_s=START_TIMEOUT_S, bytes_max=ENVELOPE_BYTES)
        except ChildDied as error:
            raise Unavailable("the process for queries does not come up") from error
        return child

    async def ask(self, question: dict[str, Any], *, seconds: float, bytes_max: int) -> dict[str, Any]:
        """Raises ChildDied. If the caller is cancelled the process is killed: it may be in the middle of anything."""
        self.questions += 1
        return await self._exchange(question, timeout_s=seconds + GRACE_S, bytes_max=bytes_max + ENVELOPE_BYTES)

    def kill(self) -> None:
        """At once. Safe to repeat."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def ended(self) -> None:
        await self._process.wait()

    async def _exchange(self, message: dict[str, Any], *, timeout_s: float, bytes_max: int) -> dict[str, Any]:
        answered = False
        try:
            async with asyncio.timeout(timeout_s):
                body = await self._spoken(msgspec.json.encode(message), bytes_max)
            decoded: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
            answered = True
            return decoded
        except TimeoutError as error:
            raise ChildDied(late=True) from error
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise ChildDied from error
        finally:
            if not answered:
                self.kill()

    async def _spoken(self, body: bytes, bytes_max: int) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(HEAD.pack(len(body)) + body)
        await stdin.drain()
        size: int = HEAD.unpack(await stdout.readexactly(HEAD.size))[0]
        if size > bytes_max:
            raise EOFError
        return await stdout.readexactly(size)


def _hello(database: Path, memory_bytes: int) -> dict[str, Any]:
    """What the program must know before it can import anything."""
    path = [str(Path(one).absolute()) for one in sys.path if one]
    return {"path": path, "database": str(database.absolute()), "memory_bytes": memory_bytes}
