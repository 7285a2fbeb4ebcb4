"""What the worlds on real adapters rest on: a mirror that cannot lie, a clock that waits for calls, notes of what is due."""

import asyncio

import pytest

from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.feed import START
from interlock.core.kernel.queue import QueueSpec
from interlock.core.kernel.store import Delete, Key, Page, Put
from tests.clocks import ManualClock
from tests.core.payments.aggregates import Numbered
from tests.scenarios.backings.aws import QuietFeed, QuietStore
from tests.scenarios.backings.flights import Flights
from tests.scenarios.backings.mirror import Mirror
from tests.scenarios.backings.watching import WatchedQueue
from tests.scenarios.world import World

KEY = Key("p", "s")
DUE = {"due": Key("3", "0005/pay")}


def mirror_of(*commits):
    mirror = Mirror()
    for write in commits:
        mirror.apply([write], [])
    return mirror


FIRST, SECOND, GONE = Put(KEY, b"1"), Put(KEY, b"2", 1), Delete(KEY, 2)


@pytest.mark.parametrize("answers", [(FIRST, SECOND), (SECOND, FIRST)])
def test_answers_in_any_order_leave_the_newest_item(answers):
    assert mirror_of(*answers).items[KEY].value == b"2"


@pytest.mark.parametrize("answers", [(FIRST, SECOND, GONE), (FIRST, GONE, SECOND), (SECOND, FIRST, GONE)])
def test_answers_in_any_order_leave_nothing_of_what_was_deleted_last(answers):
    mirror = mirror_of(*answers)
    assert (mirror.items, mirror.gone) == ({}, {KEY})


def test_item_written_anew_after_its_deletion_is_shown():
    assert mirror_of(FIRST, SECOND, GONE, FIRST).items[KEY].value == b"1"


@pytest.mark.parametrize(
    "lie", [Put(KEY, b"other"), Put(KEY, b"1", indexes=DUE), Put(KEY, b"1", expires_at=5), Put(Key("p", "more"), b"")]
)
async def test_mirror_that_shows_something_else_than_the_store_returns_is_found(lie):
    store = MemoryStore(ManualClock())
    await store.commit([FIRST])
    await mirror_of(FIRST).assert_true(store)
    with pytest.raises(AssertionError, match="the mirror shows"):
        await mirror_of(*([lie] if lie.key == KEY else [FIRST, lie])).assert_true(store)


async def test_store_that_still_has_what_is_gone_is_found():
    store = MemoryStore(ManualClock())
    await store.commit([FIRST])
    await store.commit([SECOND])
    with pytest.raises(AssertionError, match="is gone, and the store has it"):
        await mirror_of(FIRST, SECOND, GONE).assert_true(store)


async def test_history_that_lacks_an_event_is_found():
    world = World()
    events = await world.store.history(await world.sale())
    mirror = Mirror()
    mirror.apply([], events)
    await mirror.assert_true(world.store)
    with pytest.raises(AssertionError, match="another history"):
        await mirror.assert_true(MemoryStore(ManualClock()))


async def test_moment_settles_when_the_calls_under_way_have_ended():
    clock = ManualClock()
    flights, answer = Flights(clock), asyncio.get_running_loop().create_future()
    call = asyncio.create_task(flights.carry(answer))
    settled = asyncio.create_task(clock.settle())
    for _ in range(500):
        await asyncio.sleep(0)
    assert not settled.done()
    answer.set_result("done")
    await settled
    assert await call == "done"


async def test_call_that_waits_for_the_clock_does_not_hold_it_up():
    clock = ManualClock()
    flights = Flights(clock)
    call = asyncio.create_task(flights.carry(flights.clock.sleep(5)))
    await clock.settle()
    assert not call.done()
    await clock.run_for(5)
    assert call.done()


async def test_call_goes_on_to_its_end_though_its_caller_dies():
    flights, answer = Flights(ManualClock()), asyncio.get_running_loop().create_future()
    done = []

    async def work():
        done.append(await answer)

    call = asyncio.create_task(flights.carry(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    answer.set_result(1)
    await flights.clock.sleep(0)
    await asyncio.sleep(0)
    assert call.cancelled() and done == [1]


async def test_notes_tell_when_a_message_may_be_received_next():
    clock = ManualClock()
    spec = QueueSpec("q", lease_s=60.0, attempts_max=2)
    queue = WatchedQueue(MemoryQueue([spec], clock=clock, ids=Ids()), [spec], clock=clock)
    start = clock.now()
    assert queue.next_ready_at() is None
    await queue.send("q", b"", delay_s=5)
    assert queue.next_ready_at() == start + 5_000
    clock.advance(5)
    (message,) = await queue.receive("q")
    assert queue.next_ready_at() == start + 65_000
    assert await queue.release("q", message.receipt, delay_s=1.5)
    assert queue.next_ready_at() == start + 6_500
    assert await queue.open_messages() == {"q": 1}
    clock.advance(1.5)
    (message,) = await queue.receive("q")
    assert await queue.release("q", message.receipt)
    assert queue.next_ready_at() is None, "dead"
    assert await queue.open_messages() == {"q": 0}
    (letter,) = await queue.dead_letters("q")
    await queue.redrive("q", [letter.id])
    assert queue.next_ready_at() == clock.now()
    (message,) = await queue.receive("q")
    assert await queue.ack("q", message.receipt)
    assert queue.next_ready_at() is None


async def test_notes_of_a_queue_that_counts_seconds_are_whole_seconds():
    clock = ManualClock()
    spec = QueueSpec("q", lease_s=60.0, attempts_max=2)
    queue = WatchedQueue(MemoryQueue([spec], clock=clock, ids=Ids()), [spec], clock=clock, step_s=1)
    await queue.send("q", b"", delay_s=1.001)
    assert queue.next_ready_at() == clock.now() + 2_000


async def test_message_that_died_with_its_lease_is_waited_for_no_longer():
    clock = ManualClock()
    spec = QueueSpec("q", lease_s=60.0, attempts_max=1)
    queue = WatchedQueue(MemoryQueue([spec], clock=clock, ids=Ids()), [spec], clock=clock)
    await queue.send("q", b"")
    await queue.receive("q")
    clock.advance(61)
    assert await queue.receive("q") == []
    assert queue.next_ready_at() is None


async def test_queue_that_need_not_be_asked_idly_is_asked_when_something_is_ready():
    clock, asked = ManualClock(), []
    spec = QueueSpec("q", lease_s=60.0, attempts_max=2)
    inner = MemoryQueue([spec], clock=clock, ids=Ids())
    receive = inner.receive

    async def counted(*args, **kwargs):
        asked.append(args)
        return await receive(*args, **kwargs)

    inner.receive = counted
    queue = WatchedQueue(inner, [spec], clock=clock, is_quiet=True)
    assert (await queue.receive("q"), asked) == ([], [])
    await queue.send("q", b"", delay_s=2)
    clock.advance(1.999)
    assert (await queue.receive("q"), asked) == ([], [])
    clock.advance(0.001)
    assert len(await queue.receive("q")) == 1


async def test_index_is_asked_as_soon_as_something_stands_there_up_to_the_instant():
    mirror, flights = Mirror(), Flights(ManualClock())
    store = QuietStore(Answers(Page([], "asked")), mirror, flights)
    nothing = Page([], None)
    assert await store.query_index("due", "3", upto="9") == nothing
    await store.commit([Put(KEY, b"1", indexes=DUE)])
    assert await store.query_index("due", "3", upto="0004/") == nothing
    assert await store.query_index("due", "4", upto="0006/") == nothing
    assert await store.query_index("other", "3") == nothing
    assert (await store.query_index("due", "3", upto="0006/")).next == "asked"
    assert (await store.query_index("due", "3")).next == "asked"
    assert (await store.query_index("due", "4", after="0001/")).next == "asked"
    await store.commit([Put(KEY, b"2", 1)])
    assert await store.query_index("due", "3") == nothing


async def test_feed_is_asked_as_soon_as_an_event_is_behind_the_position():
    world = World()
    events = await world.store.history(await world.sale())
    source, mirror = MemoryStore(ManualClock()), Mirror()
    feed = QuietFeed(Answers(source), mirror, Flights(ManualClock()))
    assert await feed.read(after=START) == []
    assert feed.made is None, "not asked"
    await source.commit([], events[:1])
    mirror.apply([], events[:1])
    assert await feed.wait(after=START, timeout_s=0)
    (record,) = await feed.read(after=START)
    assert await feed.read(after=record.position) == []
    assert not await feed.wait(after=record.position, timeout_s=0)
    await source.commit([], events[1:])
    mirror.apply([], events[1:])
    assert [one.event for one in await feed.read(after=record.position)] == events[1:]
    assert [one.event for one in await feed.read(after=START)] == events


class Ids:
    """Of messages and leases, in order."""

    def __init__(self):
        self._next = Numbered()

    def new(self, prefix):
        return self._next(prefix)


class Answers:
    """A store, and a table with a feed, that answer the same to whatever they are asked."""

    def __init__(self, answer):
        self._answer = answer

    async def query_index(self, *_args, **_asked):
        return self._answer

    async def commit(self, _writes, _events):
        return None

    async def feed(self):
        return self._answer
