"""A file that arrived: looked at, kept under its hash or put into quarantine, announced once. Each may be repeated."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

import msgspec

from interlock.core.kernel import ids
from interlock.core.kernel.errors import Invalid, NotFound, WriteConflict
from interlock.core.reconciliation.commands import Inspected, InspectFile, TakeFile
from interlock.core.reconciliation.events import received
from interlock.core.reconciliation.model import File, decode_file, name_of, verdict_on
from interlock.core.reconciliation.ports import Reconciliation
from interlock.core.reconciliation.records import file_key, file_write, kept_key, quarantine_key


class Kept(msgspec.Struct, frozen=True):
    duplicate: bool
    """The same contents were there before, by another file or another arrival."""
    first_seen_as: str
    kept_at: str


class PutAside(msgspec.Struct, frozen=True):
    kept_at: str


async def inspect_file(r: Reconciliation, command: InspectFile) -> Inspected:
    """Read it, take its hash and judge it. Raises NotFound, and Invalid for a place that is not the tenant's inbox."""
    name = name_of(command.key, command.tenant)
    if command.size is not None and verdict_on(name, command.size) == "too_large":
        return Inspected(name, command.size, None, "too_large")
    content = await r.blobs.get(command.key)
    if content is None:
        raise NotFound("no such file in the inbox")
    return Inspected(name, len(content), sha256(content).hexdigest(), verdict_on(name, len(content)))


async def keep_file(r: Reconciliation, command: TakeFile) -> Kept:
    """Put its contents under their hash and write down that they are there: of many that bring the same, one is the first."""
    content, digest = await _content(r, command)
    place = kept_key(command.tenant, digest)
    await r.blobs.put(place, content)
    file = _file(r, command, digest, place)
    try:
        await r.store.commit([file_write(file)])
    except WriteConflict:
        known = await _load(r, command.tenant, digest)
        return Kept(known.execution != command.execution, known.name, known.kept_at)
    return Kept(False, file.name, place)


async def quarantine_file(r: Reconciliation, command: TakeFile) -> PutAside:
    """Put it where no reader looks, and say so. What is too large to be read stays in the inbox."""
    file = command.file
    place = command.key
    if file.sha256 is not None:
        content, digest = await _content(r, command)
        place = quarantine_key(command.tenant, digest, file.name)
        await r.blobs.put(place, content)
    try:
        await r.store.commit([file_write(_file(r, command, file.sha256 or "", place, refused=file.verdict))])
        r.telemetry.warning("file.quarantined", tenant=command.tenant, path=command.key, reason=file.verdict)
    except WriteConflict:
        pass  # it was put there before
    return PutAside(place)


async def announce_file(r: Reconciliation, command: TakeFile) -> Kept:
    """Tell whoever follows the platform's events that there is a file to be read. It is told once."""
    if command.file.sha256 is None:
        raise Invalid("a file without a hash is not kept, and not announced")
    file = await _load(r, command.tenant, command.file.sha256)
    event = received(file, event_id=r.ids.new(ids.EVENT), now=r.clock.now())
    with suppress(WriteConflict):  # it was told before
        await r.store.commit([], [event])
    return Kept(False, file.name, file.kept_at)


async def _content(r: Reconciliation, command: TakeFile) -> tuple[bytes, str]:
    """The contents that were looked at. Raises Invalid if they are others by now."""
    name_of(command.key, command.tenant)
    content = await r.blobs.get(command.key)
    if content is None:
        raise NotFound("no such file in the inbox")
    digest = sha256(content).hexdigest()
    if digest != command.file.sha256:
        raise Invalid("the file is no longer the one that was looked at")
    return content, digest


async def _load(r: Reconciliation, tenant: str, digest: str) -> File:
    item = await r.store.get(file_key(tenant, digest))
    if item is None:
        raise NotFound("no such file")
    return decode_file(item.value)


def _file(r: Reconciliation, command: TakeFile, digest: str, place: str, *, refused: str = "") -> File:
    return File(
        id=r.ids.new(ids.FILE),
        tenant=command.tenant,
        sha256=digest,
        name=command.file.name,
        inbox_key=command.key,
        size=command.file.size,
        kept_at=place,
        taken_at=r.clock.now(),
        execution=command.execution,
        refused=refused,
    )
