"""The disk under the folder of data: filled up and freed, turned read-only and back, by whatever this user may do.

Root gives the folder a small file system of its own (tmpfs). Anybody can limit the size of files that the running processes
may write, which the kernel enforces at the same place; all but root can take the right to write from the files.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

ROOM_MB = 768
SLACK_KB = 16
"""What is left when it is full: less than a payment needs."""


class Disk(Protocol):
    folder: Path
    kind: str
    """What is truly exercised, in words."""
    can_be_read_only: bool

    def fill(self, pids: Iterable[int]) -> None:
        """From now on `pids` find no room to speak of."""

    def free(self, pids: Iterable[int]) -> None: ...

    def read_only(self, wanted: bool) -> None:
        """While nobody has the files open."""

    def remove(self) -> None: ...


def disk(folder: Path, *, mount: bool = True) -> Disk:
    """The best one this user may have."""
    folder.mkdir(mode=0o700)
    if mount and os.geteuid() == 0:
        mounted = _run("mount", "-t", "tmpfs", "-o", f"size={ROOM_MB}m,mode=700", "interlock-crash", str(folder))
        if mounted:
            return OwnFileSystem(folder)
    return OwnLimits(folder)


class OwnFileSystem:
    """Shrunk, it refuses every new page, but not those of the log's file that were used before; a limit refuses all.

    They take turns.
    """

    kind = "a tmpfs of its own, shrunk until it is full or limited (RLIMIT_FSIZE) by turns, and remounted read-only"
    can_be_read_only = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._limits = OwnLimits(folder)
        self._limited = False

    def fill(self, pids: Iterable[int]) -> None:
        self._limited = not self._limited
        if self._limited:
            self._limits.fill(pids)
        else:
            self._shrink()

    def _shrink(self) -> None:
        for _ in range(20):  # what is written meanwhile may not fit any more
            found = os.statvfs(self.folder)
            used_kb = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
            if self._remount(f"size={used_kb + SLACK_KB}k"):
                return
        raise RuntimeError("the file system cannot be shrunk")

    def free(self, pids: Iterable[int]) -> None:
        if self._limited:
            self._limits.free(pids)
        else:
            assert self._remount(f"size={ROOM_MB}m")

    def read_only(self, wanted: bool) -> None:
        assert self._remount("ro" if wanted else "rw")

    def remove(self) -> None:
        _run("umount", "-l", str(self.folder))

    def _remount(self, options: str) -> bool:
        return _run("mount", "-o", f"remount,{options}", str(self.folder))


class OwnLimits:
    kind = "a limit on the size of files that the running processes write (RLIMIT_FSIZE), and file modes"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.can_be_read_only = os.geteuid() != 0
        """Root ignores file modes."""

    def fill(self, pids: Iterable[int]) -> None:
        for pid in pids:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))

    def free(self, pids: Iterable[int]) -> None:
        for pid in pids:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    def read_only(self, wanted: bool) -> None:
        for path in self.folder.glob("interlock.*"):
            path.chmod(0o400 if wanted else 0o600)
        self.folder.chmod(0o500 if wanted else 0o700)

    def remove(self) -> None: ...


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
