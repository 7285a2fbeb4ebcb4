from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import DAY, HOUR
from interlock.core.kernel.errors import InterlockError, WriteConflict
from interlock.core.kernel.events import encode_event
from interlock.core.kernel.store import WRITES_MAX
from interlock.core.ledger import projection
from interlock.core.ledger.accounts import account_id
from interlock.core.ledger.projection import (
    JOURNALS,
    Folded,
    balances,
    fold,
    fold_records,
    items,
    mark_key,
    project,
    sums_partition,
)
from interlock.core.ledger.records import journal_write
from interlock.core.ledger.totals import Sums, Totals
from tests.core.ledger.books import (
    T0,
    FailingStore,
    bare_event,
    event_of,
    journal_lists,
    make,
    memory,
    unhurried,
    write,
)

TENANTS = ("ten_a", "ten_b", "ten_c")


def totals_of(journals, tenant, at=None):
    totals = Totals()
    for journal in journals:
        if journal.tenant == tenant and (at is None or journal.at <= at):
            totals.add(journal)
    return totals


def shuffled_with_repeats(events, order: random.Random):
    events = [*events, *order.sample(events, len(events) // 2)]
    order.shuffle(events)
    return events


@unhurried
@given(journal_lists(), st.randoms(use_true_random=False))
async def test_balances_equal_the_fold_under_repeats_any_order_and_any_batches(journals, order):
    store = memory()
    events = shuffled_with_repeats([event_of(journal) for journal in journals], order)
    while events:
        size = order.randint(1, len(events))
        await fold(store, events[:size], writer=order.randint(0, 2))
        del events[:size]
    for tenant in TENANTS:
        assert (await balances(store, tenant)).totals == totals_of(journals, tenant)


@unhurried
@given(
    journal_lists(),
    st.lists(st.sampled_from(["", "", "", "before", "after"]), max_size=60),
    st.randoms(use_true_random=False),
)
async def test_balances_equal_the_fold_when_the_store_fails_at_any_call(journals, plan, order):
    store = memory()
    failing = FailingStore(store, plan)
    events = shuffled_with_repeats([event_of(journal) for journal in journals], order)
    while events:
        size = order.randint(1, len(events))
        try:
            await fold(failing, events[:size], writer=order.randint(0, 1))
        except InterlockError:
            continue  # not done: the same batch, or a longer one, comes again
        del events[:size]
    for tenant in TENANTS:
        assert (await balances(store, tenant)).totals == totals_of(journals, tenant)


class Yielding:
    """Lets the others run before each call, and may be cancelled there."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        async def call(*args, **kwargs):
            await asyncio.sleep(0)
            return await getattr(self._store, name)(*args, **kwargs)

        return call


@unhurried
@given(journal_lists(), st.lists(st.integers(0, 30), max_size=6), st.randoms(use_true_random=False))
async def test_balances_equal_the_fold_when_a_consumer_dies_at_any_await(journals, deaths, order):
    store = memory()
    events = [event_of(journal) for journal in journals]
    for turns in deaths:
        consumer = asyncio.ensure_future(fold(Yielding(store), events))
        for _ in range(turns):
            await asyncio.sleep(0)
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)
        order.shuffle(events)
    done = await fold(store, events)
    assert done.counted + done.repeated == len(events)
    for tenant in TENANTS:
        assert (await balances(store, tenant)).totals == totals_of(journals, tenant)


async def test_two_consumers_of_one_partition_at_once_count_each_journal_once():
    store = memory()
    journals = [make(n, amount=n) for n in range(1, 90)]
    events = [event_of(journal) for journal in journals]
    done = await asyncio.gather(*(fold(Yielding(store), events[start:]) for start in (0, 0, 30)))
    assert sum(part.counted for part in done) == len(events)
    assert (await balances(store, "ten_a")).totals == totals_of(journals, "ten_a")


async def test_consumers_of_different_partitions_never_write_the_same_item():
    store = memory()
    await fold(store, [event_of(make(1))], writer=0)
    await fold(store, [event_of(make(2))], writer=1)
    versions = {item.key.sort: item.version async for item in items(store, sums_partition("ten_a"))}
    assert versions == {
        "day/2027-01-15/0000": 1,
        "day/2027-01-15/0001": 1,
        "month/2027-01/0000": 1,
        "month/2027-01/0001": 1,
    }


async def test_hot_tenant_is_folded_in_few_commits_of_the_largest_size():
    store = memory()
    sizes = []
    commit = store.commit

    async def counted(writes, events=()):
        sizes.append(len(writes))
        await commit(writes, events)

    store.commit = counted
    await fold(store, [event_of(make(n)) for n in range(230)])
    assert sizes == [WRITES_MAX] * 10


async def test_conflict_that_never_ends_is_raised_and_nothing_is_written():
    class Contended:
        commits = 0

        def __init__(self, store):
            self.get = store.get

        async def commit(self, writes, events=()):
            self.commits += 1
            raise WriteConflict(writes[-1].key)

    store = memory()
    contended = Contended(store)
    with pytest.raises(WriteConflict):
        await fold(contended, [event_of(make())])
    assert contended.commits == 10
    assert await store.get(mark_key(make())) is None


async def test_event_that_cannot_be_counted_is_named_and_does_not_hold_up_the_others():
    store = memory()
    good, twice = event_of(make(1)), event_of(make(2))
    foreign = event_of(make(3, tenant="ten_b"))
    broken = bytes(event_of(make(4)).facts)
    events = [
        good,
        twice,
        twice,
        bare_event(),
        _changed(foreign, tenant="ten_a"),
        _changed(event_of(make(4)), facts=broken.replace(b"1999]", b"1998]", 1)),
        _changed(event_of(make(5)), facts=broken.replace(b'"postings":', b'"postings":7,"p":')),
    ]
    done = await fold(store, events)
    assert (done.counted, done.repeated) == (2, 1)
    assert [refused.event for refused in done.refused] == [event.id for event in events[4:]]
    assert (await balances(store, "ten_a")).totals == totals_of([make(1), make(2)], "ten_a")
    assert [item async for item in items(store, sums_partition("ten_b"))] == []


def _changed(event, **fields):
    if "facts" in fields:
        fields["facts"] = msgspec.Raw(fields["facts"])
    return msgspec.structs.replace(event, **fields)


async def test_records_of_the_bus_are_folded_and_a_poison_record_is_named():
    store = memory()
    records = [
        BusRecord(n % 2, n, BusMessage(f"evt_{n}", "k", encode_event(event_of(make(n))), {})) for n in range(1, 5)
    ]
    poison = BusRecord(0, 9, BusMessage("evt_9", "k", b"\xff", {}))
    done = await fold_records(store, [*records, poison, records[0]])
    assert (done.counted, done.repeated) == (4, 1)
    assert [refused.event for refused in done.refused] == ["evt_9"]


async def test_nothing_to_fold_writes_nothing():
    store = memory()
    assert await fold(store, [bare_event()]) == Folded(0, 0, ())
    assert await fold_records(store, []) == Folded(0, 0, ())
    assert await balances(store, "ten_a") == (Totals(), None)


# -- at an instant -----------------------------------------------------------------------------------------------------


@unhurried
@given(journal_lists(), st.integers(-12 * DAY, 12 * DAY))
async def test_balance_at_an_instant_is_the_fold_of_what_was_posted_up_to_it(journals, offset):
    store = memory()
    for journal in journals:
        await store.commit([journal_write(journal)])
    await fold(store, [event_of(journal) for journal in journals])
    for at in {T0 + offset, *(journal.at for journal in journals[:3])}:
        for tenant in TENANTS:
            assert (await balances(store, tenant, at)) == (totals_of(journals, tenant, at), at)


async def test_day_of_the_instant_is_read_from_the_journals_before_they_are_folded():
    store = memory()
    await write(store, [make(1, amount=5, at=T0), make(2, amount=7, at=T0 + HOUR)])
    found = await balances(store, "ten_a", T0 + HOUR - 1)
    assert found.totals.of("EUR", "merchant_payable") == Sums(0, 5)
    assert (await balances(store, "ten_a")).totals == Totals()


async def test_journal_of_an_older_day_that_arrives_late_is_in_its_day_and_in_the_whole():
    store = memory()
    events = await write(store, [make(1, amount=5, at=T0), make(2, amount=7, at=T0 - 40 * DAY)])
    await fold(store, events[:1])
    await fold(store, events[1:])
    assert (await balances(store, "ten_a", T0 - 30 * DAY)).totals == totals_of([make(2, amount=7)], "ten_a")
    now = await balances(store, "ten_a")
    assert now.totals.of("EUR", "merchant_payable").credits == 12
    assert now.as_of == T0


async def test_more_items_than_a_page_are_all_read(monkeypatch):
    monkeypatch.setattr(projection, "PAGE", 2)
    store = memory()
    journals = [make(n, amount=n, payment=1, at=T0 + n * 40 * DAY) for n in range(1, 6)]
    journals += [make(n, amount=n, payment=1) for n in range(11, 16)]
    await fold(store, await write(store, journals))
    assert (await balances(store, "ten_a")).totals == totals_of(journals, "ten_a")
    assert (await balances(store, "ten_a", T0)).totals == totals_of(journals, "ten_a", T0)


async def test_balances_of_one_tenant_do_not_show_another():
    store = memory()
    await fold(store, await write(store, [make(1, tenant="ten_a"), make(2, tenant="ten_ab")]))
    assert (await balances(store, "ten_a")).totals == totals_of([make(1)], "ten_a")


# -- lists of journals -------------------------------------------------------------------------------------------------


async def test_journals_are_found_by_account_payment_and_day():
    documents = MemoryDocuments([JOURNALS])
    capture = make(1, payment=1)
    refund = make(2, "refund_reserved", payment=1, at=T0 + DAY)
    other = make(3, "dispute_opened", payment=2, currency="JPY", excess=3)
    events = [event_of(journal) for journal in (capture, refund, other)]
    await project(documents, [*events, bare_event(), *events])

    async def found(**where):
        return [document.id for document in await documents.find("journals", tenant="ten_a", where=where)]

    assert await found() == [refund.id, other.id, capture.id]
    assert await found(payment=capture.payment) == [refund.id, capture.id]
    assert await found(day="2027-01-16") == [refund.id]
    assert await found(merchant_payable=account_id("ten_a", "merchant_payable", "EUR")) == [refund.id, capture.id]
    assert await found(suspense=account_id("ten_a", "suspense", "JPY")) == [other.id]
    assert await found(provider_receivable=account_id("ten_a", "provider_receivable:simulator_a", "EUR")) == [
        capture.id
    ]


async def test_event_with_a_broken_journal_is_left_out_of_the_lists():
    documents = MemoryDocuments([JOURNALS])
    broken = bytes(event_of(make(4)).facts).replace(b"1999]", b"1998]", 1)
    await project(
        documents, [_changed(event_of(make(4)), facts=broken), _changed(event_of(make(5)), facts=b'{"journal":7}')]
    )
    assert await documents.find("journals", tenant="ten_a") == []
