"""Write units are counted as the model says."""

import sys

import pytest
from bench.write_units import ATTRIBUTES_BYTES, CountingStore, units

from bench import machine, provider, write_units
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import Check, Delete, Key, Put
from tests.clocks import ManualClock

A = Key("p", "a")
ONE_KB = b"v" * (1_024 - 2 - ATTRIBUTES_BYTES)
"""With its key and attributes, an item of exactly one kB."""
TWO_KB = ONE_KB + b"v"
PLACE, OTHER = Key("due", "1"), Key("due", "2")


@pytest.fixture
def store():
    return CountingStore(MemoryStore(clock=ManualClock()))


async def counted(store, writes, events=()):
    before = store.counted["consumers"]
    await store.commit(writes, events)
    return store.counted["consumers"] - before


@pytest.mark.parametrize(("size", "expected"), ((1, 1), (1_024, 1), (1_025, 2), (4_096, 4)))
def test_unit_is_a_kilobyte_begun(size, expected):
    assert units(size) == expected


async def test_item_in_a_transaction_costs_two_units_for_each_kilobyte(store):
    assert await counted(store, [Put(A, ONE_KB)]) == 2
    assert await counted(store, [Put(A, TWO_KB, 1)]) == 4
    assert await counted(store, [Put(A, ONE_KB, 2)]) == 4  # the larger of before and after
    assert await counted(store, [Check(A, 3)]) == 2
    assert await counted(store, [Delete(A, 3)]) == 2


async def test_index_entry_costs_its_item_once_more_and_twice_when_it_moves(store):
    assert await counted(store, [Put(A, ONE_KB, 0, {"due": PLACE})]) == 2 + 1
    assert await counted(store, [Put(A, ONE_KB, 1, {"due": PLACE})]) == 2 + 1
    assert await counted(store, [Put(A, ONE_KB, 2, {"due": OTHER})]) == 2 + 2
    assert await counted(store, [Put(A, ONE_KB, 3)]) == 2 + 1
    assert await counted(store, [Put(A, ONE_KB, 4)]) == 2


async def test_event_is_an_item_of_the_same_transaction(store):
    event = Event("evt_1", "payment.created", "ten_1", "pay_1", 1, 1_800_000_000_000)
    assert await counted(store, [Put(A, b"v")], [event]) == 2 + 2


async def test_commit_that_was_refused_costs_nothing(store):
    await store.commit([Put(A, b"v")])
    before = dict(store.counted)
    with pytest.raises(Exception, match="a"):
        await store.commit([Put(A, b"v")])
    assert store.counted == before


def test_payments_commits_are_told_from_their_consumers(tmp_path):
    simulator = provider.start(tmp_path, python=sys.executable, cores=machine.BOTH)
    try:
        found = write_units.measure(tmp_path, simulator)
    finally:
        simulator.stop()
    payment, authorisation = found["card payment in one step"], found["authorisation"]
    # Record, payment and event; then payment, journal and event; and the due index there and back.
    assert 14 <= payment["path"] <= 30
    assert authorisation["path"] < payment["path"]
    assert payment["consumers"] > 0
