"""What is said of files. Operators and the platform see it; it is no merchant's webhook."""

from __future__ import annotations

import msgspec

from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.events import Event
from interlock.core.reconciliation.model import File

RECEIVED = "file.received"
"""A file's contents are there for the first time. `data.file` says where."""


class FileView(msgspec.Struct, frozen=True):
    id: str
    sha256: str
    name: str
    size: int
    kept_at: str
    taken_at: str


class _Data(msgspec.Struct, frozen=True):
    file: FileView


def received(file: File, *, event_id: str, now: Millis) -> Event:
    view = FileView(file.id, file.sha256, file.name, file.size, file.kept_at, rfc3339(file.taken_at))
    data = msgspec.Raw(msgspec.json.encode(_Data(view)))
    return Event(event_id, RECEIVED, file.tenant, file.id, 1, now, data)
