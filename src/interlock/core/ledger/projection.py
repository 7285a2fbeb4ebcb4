"""Balances, folded from the journals that events carry. No request ever writes to a balance.

For each tenant there is one item for each month and one for each day, and of those one for each writer (a partition of
the bus), so that no two consumers write the same item. With the sums, the same commit writes a mark for every journal
it counted; a journal whose mark is there is not counted again. So the fold is exact whatever comes twice, late, in
another order or on another partition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from interlock.core.kernel.bus import BusMessage, BusRecord, event_in
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Collection, Document, Documents, Scalar
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, WRITES_MAX, Item, Key, Put, Store
from interlock.core.ledger.accounts import CHART, account_id, line_of
from interlock.core.ledger.model import Journal, fault
from interlock.core.ledger.records import (
    SHARDS,
    day_of,
    journal_of,
    journal_partition,
    shard_of,
    stored_journal,
)
from interlock.core.ledger.totals import Sums, Totals
from interlock.core.ledger.views import encode_view, journal_view

CONFLICTS_MAX = 10
"""So often a chunk is tried again when another consumer wrote first, before it is left to a redelivery."""
PAGE = 1_000

JOURNALS = Collection("journals", ("payment", "day", "kind", *CHART))
"""The read model behind lists of journals. The field of a chart line holds the id of the account posted to."""


class Refused(NamedTuple):
    """An event whose journal cannot be counted. A person must look; `verify` names it, too."""

    event: str
    why: str


class Folded(NamedTuple):
    counted: int
    repeated: int
    """Counted before."""
    refused: tuple[Refused, ...]


class Balances(NamedTuple):
    totals: Totals
    as_of: Millis | None
    """Instant of the newest journal counted, or the instant asked for; None when nothing was ever posted."""


class PeriodSums(msgspec.Struct):
    """The stored sums of one tenant, period and writer."""

    newest: Millis = 0
    sums: dict[str, dict[str, Sums]] = {}
    """Currency -> account code -> debits and credits."""

    def totals(self) -> Totals:
        return Totals(
            {(currency, code): sums for currency, accounts in self.sums.items() for code, sums in accounts.items()}
        )


Decode = Callable[[BusMessage], Event]
"""Raises MsgspecError for what is no event."""
Together = Callable[[Sequence[Awaitable[None]]], Awaitable[None]]
"""Does several things, and returns when all are done."""


async def in_turn(work: Sequence[Awaitable[None]]) -> None:
    for one in work:
        await one


async def fold_records(
    store: Store, records: Sequence[BusRecord], *, decode: Decode = event_in, together: Together = in_turn
) -> Folded:
    """Count the journals of these records of the events topic. Safe to repeat; when it returns the effects are durable."""
    by_partition: dict[int, list[Event]] = {}
    refused: list[Refused] = []
    for record in records:
        try:
            event = decode(record.message)
        except msgspec.MsgspecError as error:
            refused.append(Refused(record.message.id, str(error)))
            continue
        by_partition.setdefault(record.partition, []).append(event)
    done = [Folded(0, 0, tuple(refused))]

    async def fold_partition(events: list[Event], writer: int) -> None:
        done.append(await fold(store, events, writer=writer))

    await together([fold_partition(events, partition) for partition, events in by_partition.items()])
    return Folded(
        sum(part.counted for part in done),
        sum(part.repeated for part in done),
        tuple(refusal for part in done for refusal in part.refused),
    )


async def fold(store: Store, events: Iterable[Event], *, writer: int = 0) -> Folded:
    """Count the journals of these events into the sums of `writer`. Safe to repeat, in any order and any batches.

    Two that fold as the same writer at once only slow each other down. Raises WriteConflict when that goes on too long.
    """
    journals: dict[str, Journal] = {}
    refused: list[Refused] = []
    repeated = 0
    for event in events:
        try:
            journal = journal_of(event)
        except ValueError as error:
            refused.append(Refused(event.id, str(error)))
            continue
        if journal is None:
            continue
        wrong = _refusal(journal, event)
        if wrong:
            refused.append(Refused(event.id, wrong))
        elif journal.id in journals:
            repeated += 1
        else:
            journals[journal.id] = journal
    counted = 0
    for chunk in _chunks(sorted(journals.values(), key=lambda journal: (journal.tenant, journal.at, journal.id))):
        fresh = await _count(store, chunk, writer)
        counted += fresh
        repeated += len(chunk) - fresh
    return Folded(counted, repeated, tuple(refused))


def _refusal(journal: Journal, event: Event) -> str:
    if (journal.tenant, journal.payment) != (event.tenant, event.aggregate):
        return "the journal is of another tenant or payment than its event"
    return fault(journal)


def _chunks(journals: Iterable[Journal]) -> Iterator[list[Journal]]:
    """As many journals as one commit takes: a write for each, and one for each sum they touch."""
    chunk: list[Journal] = []
    touched: set[Key] = set()
    for journal in journals:
        more = touched | {day_key(journal, 0), month_key(journal, 0)}
        if len(chunk) + 1 + len(more) > WRITES_MAX:
            yield chunk
            chunk, more = [], {day_key(journal, 0), month_key(journal, 0)}
        chunk.append(journal)
        touched = more
    if chunk:
        yield chunk


async def _count(store: Store, chunk: list[Journal], writer: int) -> int:
    """Commit sums and marks; how many of the journals were not counted before."""
    fresh = chunk
    for attempt in range(CONFLICTS_MAX):
        if attempt:  # only after a conflict: some of them may have their mark
            fresh = [journal for journal in fresh if await store.get(mark_key(journal)) is None]
            if not fresh:
                return 0
        writes = [Put(mark_key(journal), b"") for journal in fresh]
        for key, added in _by_period(fresh, writer).items():
            item = await store.get(key)
            writes.append(Put(key, _sum_up(item, added), item.version if item else ABSENT))
        try:
            await store.commit(writes)
        except WriteConflict as conflict:
            last = conflict
        else:
            return len(fresh)
    raise last


def _by_period(journals: Iterable[Journal], writer: int) -> dict[Key, list[Journal]]:
    periods: dict[Key, list[Journal]] = {}
    for journal in journals:
        periods.setdefault(month_key(journal, writer), []).append(journal)
        periods.setdefault(day_key(journal, writer), []).append(journal)
    return periods


def _sum_up(item: Item | None, journals: list[Journal]) -> bytes:
    known = decode_sums(item) if item else PeriodSums()
    totals = known.totals()
    for journal in journals:
        totals.add(journal)
    sums: dict[str, dict[str, Sums]] = {}
    for currency, code, of_account in totals:
        sums.setdefault(currency, {})[code] = of_account
    return _encode_sums(PeriodSums(max(known.newest, *(journal.at for journal in journals)), sums))


# -- where the sums and marks stand ------------------------------------------------------------------------------------


def sums_partition(tenant: str) -> str:
    return f"{tenant}/bal"


def day_key(journal: Journal, writer: int) -> Key:
    return Key(sums_partition(journal.tenant), f"day/{day_of(journal.at)}/{writer:04d}")


def month_key(journal: Journal, writer: int) -> Key:
    return Key(sums_partition(journal.tenant), f"month/{day_of(journal.at)[:7]}/{writer:04d}")


def period_of(item: Item) -> str:
    """The day or month an item of sums is of."""
    return item.key.sort.split("/")[1]


def mark_key(journal: Journal) -> Key:
    return Key(mark_partition(journal.tenant, day_of(journal.at), shard_of(journal.payment)), journal.id)


def mark_partition(tenant: str, day: str, shard: int) -> str:
    return f"{tenant}/jrn_counted/{day}/{shard:x}"


def decode_sums(item: Item) -> PeriodSums:
    """Raises ValueError if the item does not hold sums."""
    return _decode_sums(item.value)


# -- reading -----------------------------------------------------------------------------------------------------------


async def balances(store: Store, tenant: str, at: Millis | None = None) -> Balances:
    """Every account's sums, now or as they stood at `at` (that instant included).

    Now: a moment behind the latest commit. At an instant: whole months and days before it as folded so far, and the
    journals of its own day as they stand in the store, so the cost grows with that day's journals.
    """
    totals = Totals()
    if at is None:
        newest: Millis | None = None
        async for item in items(store, sums_partition(tenant), "month/"):
            period = decode_sums(item)
            totals.merge(period.totals())
            newest = max(newest or 0, period.newest)
        return Balances(totals, newest)
    day = day_of(max(at, 0))
    month = day[:7]
    async for item in items(store, sums_partition(tenant), "month/"):
        if period_of(item) >= month:
            break
        totals.merge(decode_sums(item).totals())
    async for item in items(store, sums_partition(tenant), f"day/{month}-"):
        if period_of(item) >= day:
            break
        totals.merge(decode_sums(item).totals())
    for shard in range(SHARDS):
        async for item in items(store, journal_partition(tenant, day, shard)):
            journal = stored_journal(item).journal
            if journal.at <= at:
                totals.add(journal)
    return Balances(totals, at)


async def items(store: Store, partition: str, prefix: str = "") -> AsyncIterator[Item]:
    """Every item of a partition in order, page by page."""
    after: str | None = None
    while True:
        page = await store.query(partition, prefix=prefix, after=after, limit=PAGE)
        for item in page.items:
            yield item
        if page.next is None:
            return
        after = page.next


async def project(documents: Documents, events: Iterable[Event]) -> None:
    """Bring the lists of journals up to these events. Safe to repeat, in any order. Leaves out what `fold` refuses."""
    found: list[Document] = []
    for event in events:
        try:
            journal = journal_of(event)
        except ValueError:
            continue
        if journal is not None and not _refusal(journal, event):
            found.append(_document(journal))
    if found:
        await documents.upsert(JOURNALS.name, found)


def _document(journal: Journal) -> Document:
    fields: dict[str, Scalar] = {"payment": journal.payment, "day": day_of(journal.at), "kind": journal.kind}
    for posting in journal.postings:
        fields[line_of(posting.account).code] = account_id(journal.tenant, posting.account, journal.currency)
    return Document(journal.id, journal.tenant, 1, fields, encode_view(journal_view(journal)))


_encode_sums = msgspec.json.Encoder().encode
_decode_sums = msgspec.json.Decoder(PeriodSums).decode
