"""A day's journals and the report that proves them, put away as files that are written once."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.workflows import Json
from interlock.core.ledger.export import Format, export

PART_BYTES = 8_000_000
"""A longer export is several files, each whole lines: no day is too long for memory."""


class Archived(msgspec.Struct, frozen=True):
    key: str
    sha256: str
    bytes: int


async def archive_day(feed: Feed, blobs: Blobs, *, tenant: str, day: str, name: str, report: Json) -> list[Archived]:
    """Put a tenant's journals of a UTC day and a report into `ledger/<tenant>/<day>/<name>/`; what is there then.

    Safe to repeat under one `name`: what is there stays. Raises ValueError for an event whose journal is none, once the report
    is there. Raises Invalid for names that cannot be part of a key.
    """
    folder = f"ledger/{tenant}/{day}/{name}"
    files = [await _put(blobs, f"{folder}/report.json", msgspec.json.format(msgspec.json.encode(report)))]
    part: list[str] = []
    size = 0
    async for piece in export(feed, Format.CSV, tenant=tenant, day=day):
        if part and size + len(piece) > PART_BYTES:
            files.append(await _put(blobs, f"{folder}/journals-{len(files):04d}.csv", "".join(part).encode()))
            part, size = [], 0
        part.append(piece)
        size += len(piece)
    files.append(await _put(blobs, f"{folder}/journals-{len(files):04d}.csv", "".join(part).encode()))
    return files


async def _put(blobs: Blobs, key: str, content: bytes) -> Archived:
    if not await blobs.put(key, content):
        content = await blobs.get(key) or b""
    return Archived(key, sha256(content).hexdigest(), len(content))
