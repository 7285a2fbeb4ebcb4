"""The clock of all processes under test, stepped while they run: libfaketime reads the distance from a file.

Time that passes (monotonic) is left alone, as a step of the real clock leaves it. Without libfaketime the clock stands as it is.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.counterparts.paths import find

REREAD_S = 1
"""How long a process goes by what it has read of the file."""


class SteppedClock:
    def __init__(self, folder: Path) -> None:
        self.library = find("faketime")
        self.offset_s = 0
        self._file = folder / "clock"
        self._write()

    @property
    def can_step(self) -> bool:
        return self.library is not None

    @property
    def environment(self) -> dict[str, str]:
        """Of every process that is to see it."""
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": str(self.library),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "faketime"), os.environ.get("PYTHONPATH", "")]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(REREAD_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def now(self) -> float:
        """What the stepped processes take for the time, within a second of a step."""
        return time.time() + self.offset_s

    def step(self, seconds: int) -> None:
        self.offset_s += seconds
        self._write()

    def _write(self) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{self.offset_s:+d}\n")
        draft.replace(self._file)  # never half of it
