"""Log lines on their way to a file that may take none: a full disk must stop no payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO


class Lines:
    """A stream of lines that raises nothing. What cannot be written is lost, and counted."""

    def __init__(self, stream: BinaryIO, lost: Callable[[], None]) -> None:
        self._stream = stream
        self._lost = lost
        self._torn = False
        """The last line was written in part: the next one begins on a line of its own."""

    def write(self, line: bytes) -> None:
        whole = b"\n" + line if self._torn else line
        try:
            written = self._stream.write(whole)
            self._stream.flush()
        except OSError:
            self._lost()
            return
        self._torn = written is not None and 0 < written < len(whole)
        if written != len(whole):
            self._lost()
