"""The proof: every journal and every event read again, and held against each other and against the balances.

Three passes, each a stream. The events say which journals there must be; the store says which there are, and which the
balances have counted. Only for a partition in which the two disagree are journals compared one by one, so memory grows
with the number of partitions and of what is wrong, not with the ledger. Runs beside live traffic: what was committed
meanwhile is no finding, and what the balances have not counted yet is counted as `behind`.

What it cannot see: somebody who rewrites a journal, its digest and its event alike, and adds it up anew; and journals
slipped in for a tenant, or on a day of a tenant, of which neither events nor balances speak.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START, Feed, FeedRecord
from interlock.core.kernel.ids import PAYMENT
from interlock.core.kernel.store import Item, Key, Store, whole_history
from interlock.core.ledger.model import Journal, fault, strays_from_recipe
from interlock.core.ledger.projection import (
    decode_sums,
    items,
    mark_partition,
    period_of,
    sums_partition,
)
from interlock.core.ledger.records import (
    SHARDS,
    StoredJournal,
    day_of,
    decode_journal,
    journal_key,
    journal_partition,
    journal_write,
    raw_journal_of,
    shard_of,
    stored_journal,
)
from interlock.core.ledger.totals import PaymentTotals, Totals, payment_totals

FINDINGS_MAX = 1_000
"""Named in a report; further ones are only counted."""
BATCH = 500

CODES = {
    "journal_unreadable": "What stands where a journal should be is not one.",
    "journal_unsound": "It does not balance, or breaks another rule every journal keeps.",
    "journal_off_recipe": "It balances, and moves other accounts than its kind's recipe.",
    "journal_altered": "It is not what its digest was taken of, or was written more than once.",
    "journal_differs": "The store's copy and the event's are not the same.",
    "journal_missing": "An event carries it and the store does not have it.",
    "journal_orphan": "The store has it and no event carries it.",
    "journal_misplaced": "It is of another tenant, payment or day than the place it stands in.",
    "journal_repeated": "Two events carry it.",
    "balance_wrong": "Stored sums are not those of the journals counted.",
    "mark_orphan": "Marked as counted, and not there.",
    "payment_differs": "The payment says otherwise than its journals.",
}


class Finding(NamedTuple):
    code: str
    """A key of CODES."""
    tenant: str
    subject: str
    """Id of the journal, event or payment, or the period of a balance."""
    detail: str
    payment: str = ""
    """Whose journal or event it is, where that is known."""


class Report(NamedTuple):
    events: int
    journals: int
    payments: int
    """Those held against their journals by `check_payment`."""
    behind: int
    """Journals the balances have not counted yet."""
    findings: tuple[Finding, ...]
    more: int
    """Findings beyond FINDINGS_MAX."""

    @property
    def sound(self) -> bool:
        return not self.findings


CheckPayment = Callable[[Sequence[Event], PaymentTotals], Awaitable[Iterable[Finding]]]
"""Given all events of a payment in order and the totals of its journals, says what does not agree."""


class _Place(NamedTuple):
    tenant: str
    day: str
    shard: int


async def verify(store: Store, feed: Feed, *, check_payment: CheckPayment | None = None) -> Report:
    """Read everything again and report what is wrong. Writes nothing."""
    found = _Findings()
    expected = _Tally()
    events = payments = 0
    async for record in records_of(feed):
        event = record.event
        events += 1
        carried = _journal_in(event, found)
        if carried is not None:
            expected.add(_place(carried.journal), carried.journal.id, carried.raw)
        if check_payment is not None and event.version == 1 and event.aggregate.startswith(f"{PAYMENT}_"):
            payments += 1
            await _hold_against_journals(store, event, check_payment, found)
    kept = _Tally()
    behind = 0
    for tenant, days in sorted(expected.days().items()):
        behind += await _read_tenant(store, tenant, days, kept, found)
    unequal = {place for place in kept.places | expected.places if kept.of(place) != expected.of(place)}
    if unequal:
        await _compare_one_by_one(store, feed, unequal, found)
    return Report(events, kept.count, payments, behind, tuple(found.named), found.more)


async def journals_of_payment(store: Store, payment: str) -> list[Journal]:
    """The journals of one payment in order, from its events."""
    raws = [raw_journal_of(event) for event in await whole_history(store, payment)]
    return [decode_journal(raw) for raw in raws if raw is not None]


async def records_of(feed: Feed) -> AsyncIterator[FeedRecord]:
    """Every event there is when the end is reached."""
    position = START
    while records := await feed.read(after=position, limit=BATCH):
        for record in records:
            yield record
        position = records[-1].position


class _Findings:
    def __init__(self) -> None:
        self.named: list[Finding] = []
        self.more = 0

    def add(self, code: str, tenant: str, subject: str, detail: str, payment: str = "") -> None:
        self.take((Finding(code, tenant, subject, detail, payment),))

    def take(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if len(self.named) < FINDINGS_MAX:
                self.named.append(finding)
            else:
                self.more += 1


class _Tally:
    """For each partition how many journals there are, and the sum of their hashes: equal only for the same journals."""

    def __init__(self) -> None:
        self._places: dict[_Place, tuple[int, int]] = {}

    def add(self, place: _Place, journal_id: str, raw: bytes) -> None:
        count, total = self._places.get(place, (0, 0))
        hashed = int.from_bytes(sha256(journal_id.encode() + b"\0" + raw).digest(), "big")
        self._places[place] = (count + 1, (total + hashed) % 2**256)

    def of(self, place: _Place) -> tuple[int, int]:
        return self._places.get(place, (0, 0))

    @property
    def places(self) -> set[_Place]:
        return set(self._places)

    @property
    def count(self) -> int:
        return sum(count for count, _ in self._places.values())

    def days(self) -> dict[str, set[str]]:
        days: dict[str, set[str]] = {}
        for place in self._places:
            days.setdefault(place.tenant, set()).add(place.day)
        return days


def _place(journal: Journal) -> _Place:
    return _Place(journal.tenant, day_of(journal.at), shard_of(journal.payment))


class _Carried(NamedTuple):
    journal: Journal
    raw: bytes


def _journal_in(event: Event, found: _Findings) -> _Carried | None:
    """The journal an event carries, if it can be read."""
    try:
        raw = raw_journal_of(event)
        if raw is None:
            return None
        journal = decode_journal(raw)
    except ValueError as error:
        found.add("journal_unreadable", event.tenant, event.id, f"in the event: {error}", event.aggregate)
        return None
    if (journal.tenant, journal.payment) != (event.tenant, event.aggregate):
        where = f"in event {event.id} of {event.aggregate}"
        found.add("journal_misplaced", event.tenant, journal.id, where, event.aggregate)
    return _Carried(journal, raw)


async def _hold_against_journals(store: Store, first: Event, check: CheckPayment, found: _Findings) -> None:
    events = await whole_history(store, first.aggregate)
    try:
        raws = [raw_journal_of(event) for event in events]
        totals = payment_totals(decode_journal(raw) for raw in raws if raw is not None)
    except ValueError as error:
        found.add("payment_differs", first.tenant, first.aggregate, str(error), first.aggregate)
        return
    found.take(await check(events, totals))


async def _read_tenant(store: Store, tenant: str, days: set[str], kept: _Tally, found: _Findings) -> int:
    """Check a tenant's journals and hold the stored sums against them; how many journals are not counted yet.

    Sums only grow, and change along with the marks. So the journals marked as counted add up to something between the
    sums read before the marks and those read after: exactly the stored sums, when no consumer is at work.
    """
    before = await _sums_of(store, tenant)
    days = days | {period for period in before.totals if len(period) == len("2026-12-31")}
    periods: dict[str, Totals] = {}
    unmarked = 0
    for day in sorted(days):
        for shard in range(SHARDS):
            unmarked += await _read_place(store, _Place(tenant, day, shard), kept, periods, found)
    after = await _sums_of(store, tenant)
    for period in sorted(before.totals.keys() | periods.keys()):
        stored = after.totals.get(period, Totals())
        wrong = _outside(before.totals.get(period, Totals()), periods.get(period, Totals()), stored)
        if wrong:
            found.add("balance_wrong", tenant, period, wrong)
        for currency, amount in stored.imbalances().items():
            found.add("balance_wrong", tenant, period, f"debits exceed credits by {amount} {currency}")
    for period in after.unreadable:
        found.add("balance_wrong", tenant, period, "the stored sums cannot be read")
    return unmarked


async def _read_place(store: Store, place: _Place, kept: _Tally, periods: dict[str, Totals], found: _Findings) -> int:
    """Check the journals of one partition and add those counted to `periods`; how many are not counted yet.

    Marks are read first: a mark is written after its journal, so one without a journal is wrong.
    """
    marked = {item.key.sort async for item in items(store, mark_partition(*place))}
    unmarked = 0
    async for item in items(store, journal_partition(*place)):
        stored = _stored_in(item, place, found)
        kept.add(place, item.key.sort, item.value if stored is None else stored.raw)
        if item.key.sort not in marked:
            unmarked += 1
            continue
        marked.discard(item.key.sort)
        if stored is not None:
            for period in (place.day, place.day[:7]):
                periods.setdefault(period, Totals()).add(stored.journal)
    for journal_id in sorted(marked):
        found.add("mark_orphan", place.tenant, journal_id, f"counted on {place.day}")
    return unmarked


def _stored_in(item: Item, place: _Place, found: _Findings) -> StoredJournal | None:
    """What stands in an item, after every check that needs nothing else."""
    tenant, subject = place.tenant, item.key.sort
    try:
        stored = stored_journal(item)
        journal = stored.journal
    except ValueError as error:
        found.add("journal_unreadable", tenant, subject, f"in the store: {error}")
        return None
    if item.value != journal_write(journal).value:
        altered = "the content is not what its digest was taken of"
        found.add("journal_altered", tenant, subject, altered, journal.payment)
    elif item.version != 1 or item.expires_at is not None:
        altered = f"written {item.version} times, or made to expire"
        found.add("journal_altered", tenant, subject, altered, journal.payment)
    wrong = fault(journal)
    if wrong:
        found.add("journal_unsound", tenant, subject, wrong, journal.payment)
    elif strays_from_recipe(journal):
        found.add("journal_off_recipe", tenant, subject, f"{journal.kind}: {journal.postings}", journal.payment)
    if journal_key(journal) != item.key:
        found.add("journal_misplaced", tenant, subject, f"stands in {item.key.partition}", journal.payment)
    return stored


class _StoredSums(NamedTuple):
    totals: dict[str, Totals]
    """Period -> sums of all writers."""
    unreadable: list[str]


async def _sums_of(store: Store, tenant: str) -> _StoredSums:
    stored = _StoredSums({}, [])
    async for item in items(store, sums_partition(tenant)):
        try:
            stored.totals.setdefault(period_of(item), Totals()).merge(decode_sums(item).totals())
        except ValueError:
            stored.unreadable.append(period_of(item))
    return stored


def _outside(before: Totals, counted: Totals, after: Totals) -> str:
    """Which account's sum is not between the two readings, in words; empty if none is."""
    for currency, code, _ in (*before, *counted, *after):
        low, due, high = before.of(currency, code), counted.of(currency, code), after.of(currency, code)
        if not (low.debits <= due.debits <= high.debits and low.credits <= due.credits <= high.credits):
            return f"{code} {currency}: {high} stored, {due} by its journals"
    return ""


async def _compare_one_by_one(store: Store, feed: Feed, places: set[_Place], found: _Findings) -> None:
    """Name what the store and the events do not agree on in these partitions."""
    stored: dict[tuple[_Place, str], bytes] = {}
    for place in places:
        async for item in items(store, journal_partition(*place)):
            stored[place, item.key.sort] = item.value
    carried: dict[str, str] = {}
    quiet = _Findings()
    async for record in records_of(feed):  # read after the store: an event is there as soon as its journal is
        event = record.event
        found_in = _journal_in(event, quiet)
        if found_in is None or _place(found_in.journal) not in places:
            continue
        journal, raw = found_in
        by = carried.setdefault(journal.id, event.id)
        if by != event.id:
            found.add("journal_repeated", event.tenant, journal.id, f"in {by} and {event.id}", event.aggregate)
            continue
        value = stored.pop((_place(journal), journal.id), None)
        if value is None:
            item_now = await store.get(journal_key(journal))
            value = item_now.value if item_now else None
        _compare(journal, raw, value, event, found)
    for place, journal_id in sorted(stored):
        if journal_id not in carried:
            whose = _payment_in(stored[place, journal_id])
            found.add("journal_orphan", place.tenant, journal_id, f"on {place.day}", whose)


def _payment_in(value: bytes) -> str:
    try:
        return stored_journal(Item(Key("-", "-"), 1, value, {}, None)).journal.payment
    except ValueError:
        return ""


def _compare(journal: Journal, raw: bytes, value: bytes | None, event: Event, found: _Findings) -> None:
    if value is None:
        missing = f"carried by {event.id} of {event.aggregate}"
        found.add("journal_missing", event.tenant, journal.id, missing, event.aggregate)
        return
    try:
        kept = stored_journal(Item(journal_key(journal), 1, value, {}, None)).raw
    except ValueError:
        return  # named as unreadable already
    if kept != raw:
        found.add("journal_differs", event.tenant, journal.id, f"from that in {event.id}", event.aggregate)
