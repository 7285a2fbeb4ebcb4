"""The folder of data as the processes of one machine share it: who runs which role here, and how to reach the platform."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

READY_FILE = "ready.json"
LOG_FILE = "interlock.log"


class Role(StrEnum):
    """What a process does on a folder. Each is done by one process at a time."""

    API = "api"
    """Serves requests."""
    WORKER = "worker"
    """Does what the platform does by itself."""

    @property
    def lock_file(self) -> str:
        return f"{self}.lock"


class DataInUse(Exception):
    """Another process has a role on this folder that we want."""


class Ready(msgspec.Struct, frozen=True):
    """What the ready file says once everything answers. Readable by its owner only: it holds a client's secret."""

    base_url: str
    console_url: str | None
    """Where people sign in."""
    simulator_url: str | None
    """The simulator's control: /books, /faults, /reset. null when it was started without one."""
    token_url: str
    client_id: str
    client_secret: str
    webhook_secret: str | None
    """What the simulator signs its notifications with."""
    console_user: str | None
    console_password: str | None
    providers: list[str]
    pid: int
    worker_url: str | None = None
    """Health and metrics of the worker that was started beside the API. null: it shares the API's process, or is not ours."""


@contextmanager
def held(folder: Path, roles: Iterable[Role]) -> Iterator[None]:
    """Have these roles on `folder`, which is made if it is not there. They go with the process, however it ends.

    Raises DataInUse.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as locks:
        for role in roles:
            file = locks.enter_context((folder / role.lock_file).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataInUse(f"another process runs the {role} on {folder}") from None
        yield


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by the owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    draft.replace(path)
