"""Export, compaction, running a query, and the commands of saved queries."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.queries.commands import SaveQuery
from interlock.core.desk.queries.events import QUERY_DELETED, QUERY_RUN, QUERY_SAVED, query_event
from interlock.core.desk.queries.exports import rows_of, without_card_numbers
from interlock.core.desk.queries.model import Limits, SavedQuery, Table
from interlock.core.desk.queries.ports import Exports, Queries
from interlock.core.desk.queries.records import PARTITION, decode_query, query_key, query_removal, query_write
from interlock.core.desk.queries.segments import (
    MANIFEST,
    ROOT,
    decode_manifest,
    encode_manifest,
    manifest_of,
    merged_of,
    parse,
    segment_of,
    standing,
)
from interlock.core.desk.queries.tables import TABLES
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Conflict, Forbidden, NotFound, Unavailable, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT

QUERY = "qry"
"""Prefix of a saved query's id."""
QUERIES_MAX = 500
CONFLICTS_MAX = 8
AUDITED_MAX = 2_000
"""Characters of a query that its audit record keeps."""
FILES_MAX = 500
"""Segments that are merged at once: all of them are in memory then."""
DEFAULT_LIMITS = Limits()


# Export


async def export(d: Exports, events: Sequence[Event]) -> list[str]:
    """Write what a batch of events says; the keys that are there now.

    Safe to repeat: the same batch is the same segments, and another cut of the same events only adds rows that are known.
    When it raises, some tables may be written and some not; the repetition writes the rest. Raises what Blobs raises, and
    ValueError for an event that is not what it should be.
    """
    days: dict[str, list[Event]] = {}
    for event in events:
        days.setdefault(utc_day(event.at), []).append(event)
    written = []
    for day, batch in sorted(days.items()):
        rows = rows_of(batch)
        for name, table in TABLES.items():
            if name in rows:
                key = segment_of(name, day, batch).key
                await d.blobs.put(key, await d.files.encode(table, rows[name]))
                written.append(key)
    return written


class Compacted(NamedTuple):
    merged: int
    """Segments whose rows now stand in a larger one, too."""
    left: int
    """Segments beyond what is merged at once: call again."""


async def compact(d: Exports, day: str) -> Compacted:
    """Merge the segments of a UTC day (YYYY-MM-DD) into one for each table. Nothing is deleted; a reader is right at any moment.

    Safe to repeat and to run twice at the same time. Raises what Blobs raises, and ValueError for a segment that cannot be read.
    """
    merged = left = 0
    for name, table in TABLES.items():
        keys = await list_all(d.blobs, f"{ROOT}{name}/{day}/")
        found = standing(keys, await manifests_in(d.blobs, keys))
        chosen, left_here = found[:FILES_MAX], len(found) - FILES_MAX
        if len(chosen) < 2:
            continue
        files = [content for key in chosen if (content := await d.blobs.get(key)) is not None]
        target = merged_of(name, day, chosen)
        await d.blobs.put(target.key, await d.files.merge(table, files))
        # The manifest is last: until it stands, nobody takes the merged one for the others.
        await d.blobs.put(manifest_of(target).key, encode_manifest(chosen))
        merged += len(chosen)
        left += max(0, left_here)
    return Compacted(merged, left)


async def list_all(blobs: Blobs, prefix: str) -> list[str]:
    keys: list[str] = []
    while page := await blobs.list(prefix, after=keys[-1] if keys else ""):
        keys.extend(page)
    return keys


async def manifests_in(blobs: Blobs, keys: Sequence[str]) -> dict[str, list[str]]:
    """Key of each manifest among `keys` -> the segments it lists."""
    found = {}
    for key in keys:
        segment = parse(key)
        if segment is not None and segment.suffix == MANIFEST and (raw := await blobs.get(key)) is not None:
            found[key] = decode_manifest(raw)
    return found


# Running


async def run_query(q: Queries, sql: str, *, actor: str, limits: Limits = DEFAULT_LIMITS) -> Table:
    """The answer, and a line in the audit trail that says who asked what: it is written first, also for what is refused.

    Raises as `Analysis.query` does, and what Store raises.
    """
    record, recorded = audit_event(
        q.ids,
        q.clock.now(),
        actor=actor,
        action=QUERY_RUN,
        target=sha256(sql.encode(errors="replace")).hexdigest()[:32],
        tenant=PLATFORM,
        detail={"sql": without_card_numbers(sql.encode(errors="replace").decode(), most=AUDITED_MAX)},
    )
    await q.store.commit([record], [recorded])
    return await q.analysis.query(sql, limits)


# Saved queries


async def save_query(q: Queries, command: SaveQuery, *, actor: str) -> SavedQuery:
    """Keep a query for everybody, or change the one of this name. Only who made it may change it.

    Raises Invalid if it could not be run, Forbidden if the name is somebody else's, Conflict if there are too many.
    """
    await q.analysis.check(command.sql)
    for _ in range(CONFLICTS_MAX):
        item = await q.store.get(query_key(command.name))
        now = q.clock.now()
        if item is None:
            await _require_room(q)
            query = SavedQuery(
                id=q.ids.new(QUERY),
                name=command.name,
                question=command.question,
                sql=command.sql,
                owner=actor,
                version=1,
                created_at=now,
                updated_at=now,
                chart=command.chart,
            )
        else:
            known = decode_query(item)
            _require_owner(known, actor)
            query = replace(known, question=command.question, sql=command.sql, chart=command.chart)
            if query == known:
                return known
            query = replace(query, version=known.version + 1, updated_at=now)
        try:
            await _commit(q, QUERY_SAVED, query, actor, item.version if item else ABSENT)
        except WriteConflict:
            continue
        return query
    raise _busy()


async def list_queries(q: Queries) -> list[SavedQuery]:
    """All of them, by name."""
    page = await q.store.query(PARTITION, limit=2 * QUERIES_MAX)
    return [decode_query(item) for item in page.items]


async def load_query(q: Queries, name: str) -> SavedQuery:
    """Raises NotFound."""
    item = await q.store.get(query_key(name)) if name else None
    if item is None:
        raise NotFound("no such saved query")
    return decode_query(item)


async def delete_query(q: Queries, name: str, *, actor: str) -> SavedQuery:
    """What was deleted. Raises NotFound, Forbidden for anybody but its owner."""
    for _ in range(CONFLICTS_MAX):
        item = await q.store.get(query_key(name)) if name else None
        if item is None:
            raise NotFound("no such saved query")
        known = decode_query(item)
        _require_owner(known, actor)
        last = replace(known, version=known.version + 1, updated_at=q.clock.now())
        try:
            await _commit(q, QUERY_DELETED, last, actor, item.version)
        except WriteConflict:
            continue
        return last
    raise _busy()


async def _commit(q: Queries, type_: str, query: SavedQuery, actor: str, expected: int) -> None:
    """The change, its event and its audit record."""
    write = query_removal(query, expected) if type_ == QUERY_DELETED else query_write(query, expected)
    record, recorded = audit_event(
        q.ids,
        query.updated_at,
        actor=actor,
        action=type_,
        target=query.id,
        tenant=PLATFORM,
        detail={"name": query.name, "version": query.version, "sql": without_card_numbers(query.sql, most=AUDITED_MAX)},
    )
    event = query_event(q.ids, type_, query, actor=actor, tenant=PLATFORM)
    await q.store.commit([write, record], [event, recorded])


async def _require_room(q: Queries) -> None:
    page = await q.store.query(PARTITION, limit=QUERIES_MAX)
    if len(page.items) >= QUERIES_MAX:
        raise Conflict(f"there are {QUERIES_MAX} saved queries already", code="too_many_queries")


def _require_owner(query: SavedQuery, actor: str) -> None:
    if query.owner != actor:
        raise Forbidden(f"{query.name} is {query.owner}'s; save yours under another name", code="not_owner")


def _busy() -> Unavailable:
    return Unavailable("others are changing this at the same time; repeat", retry_after_s=1)
