"""The Store port's promises, over every adapter. One section per method, in the port's order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import permutations

import msgspec
import pytest

from interlock.core.kernel.errors import Invalid, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, VALUE_BYTES_MAX, Check, Delete, Item, Key, Page, Put, Store, Write
from tests.contracts.conftest import Storage

PAYMENT = Key("ten_a/pay/pay_1", "state")
OTHER = Key("ten_a/pay/pay_2", "state")


def event(version: int, *, aggregate: str = "pay_1", data: bytes = b"{}") -> Event:
    return Event(
        id=f"evt_{aggregate}_{version}",
        type="payment.created",
        tenant="ten_a",
        aggregate=aggregate,
        version=version,
        at=1_800_000_000_000 + version,
        data=msgspec.Raw(data),
        facts=msgspec.Raw(b'{"journal":{"lines":[]}}'),
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def fill(store: Store, *writes: Write) -> None:
    for write in writes:
        await store.commit([write])


async def outcomes(*commits: object) -> list[object]:
    """What each of several concurrent commits came to: None or its error."""
    return list(await asyncio.gather(*commits, return_exceptions=True))  # type: ignore[call-overload]


def sorts(page: Page) -> list[str]:
    return [item.key.sort for item in page.items]


async def all_pages(store: Store, partition: str, *, limit: int, newest_first: bool = False) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = await store.query(partition, after=after, limit=limit, newest_first=newest_first)
        found += sorts(page)
        assert len(page.items) <= limit
        if page.next is None:
            return found
        after = page.next


# -- get ----------------------------------------------------------------------------------------------------------------


async def test_item_never_written_is_none(store: Store) -> None:
    assert await store.get(PAYMENT) is None


async def test_item_written_comes_back_whole(store: Store) -> None:
    put = Put(PAYMENT, b"\x00\xff value", indexes={"due": Key("shard 3", "0017")}, expires_at=1_900_000_000_000)
    await store.commit([put])
    assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"\x00\xff value", put.indexes, 1_900_000_000_000)


async def test_item_without_indexes_and_expiry_comes_back_so(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"")])
    assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"", {}, None)


async def test_commit_is_seen_by_everybody_once_it_returned(storage: Storage) -> None:
    for version in range(3):
        await storage.store.commit([Put(PAYMENT, b"%d" % version, expected=version)])
        for reader in (storage.store, storage.other_store):
            item = await reader.get(PAYMENT)
            assert item is not None
            assert (item.version, item.value) == (version + 1, b"%d" % version)


async def test_parts_of_a_key_are_not_mixed_up(store: Store) -> None:
    await store.commit([Put(Key("a", "b/c"), b"1"), Put(Key("a/b", "c"), b"2")])
    first, second = await store.get(Key("a", "b/c")), await store.get(Key("a/b", "c"))
    assert first is not None and first.value == b"1"
    assert second is not None and second.value == b"2"


# -- commit: conditions ---------------------------------------------------------------------------------------------


async def test_versions_count_from_one_upwards(store: Store) -> None:
    for version in range(4):
        await store.commit([Put(PAYMENT, b"x", expected=version)])
        item = await store.get(PAYMENT)
        assert item is not None and item.version == version + 1


async def test_put_of_absent_item_that_is_there_conflicts_and_changes_nothing(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"first")])
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(PAYMENT, b"second")])
    assert conflict.value.key == PAYMENT
    assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"first", {}, None)


@pytest.mark.parametrize("expected", [1, 2, 4, 5, 1_000])
async def test_put_with_any_other_version_conflicts_and_changes_nothing(store: Store, expected: int) -> None:
    for version in range(3):
        await store.commit([Put(PAYMENT, b"v%d" % version, expected=version)])
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(PAYMENT, b"stale", expected=expected)])
    assert conflict.value.key == PAYMENT
    assert await store.get(PAYMENT) == Item(PAYMENT, 3, b"v2", {}, None)


async def test_put_with_a_version_of_an_item_never_written_conflicts(store: Store) -> None:
    with pytest.raises(WriteConflict):
        await store.commit([Put(PAYMENT, b"x", expected=1)])
    assert await store.get(PAYMENT) is None


@pytest.mark.parametrize("start", [0, 1, 7])
async def test_of_many_writers_from_one_version_exactly_one_wins(storage: Storage, start: int) -> None:
    for version in range(start):
        await storage.store.commit([Put(PAYMENT, b"before", expected=version)])
    stores = [storage.store, storage.other_store]
    results = await outcomes(
        *(stores[n % 2].commit([Put(PAYMENT, b"writer %d" % n, expected=start)]) for n in range(8))
    )
    winners = [n for n, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert all(isinstance(result, WriteConflict) for n, result in enumerate(results) if n not in winners)
    assert await storage.store.get(PAYMENT) == Item(PAYMENT, start + 1, b"writer %d" % winners[0], {}, None)


async def test_counting_up_from_many_tasks_loses_no_step(storage: Storage) -> None:
    async def step(store: Store) -> None:
        while True:
            item = await store.get(PAYMENT)
            value, version = (int(item.value), item.version) if item else (0, ABSENT)
            try:
                return await store.commit([Put(PAYMENT, b"%d" % (value + 1), expected=version)])
            except WriteConflict:
                continue

    await asyncio.gather(*(step(storage.store if n % 2 else storage.other_store) for n in range(20)))
    assert await storage.store.get(PAYMENT) == Item(PAYMENT, 20, b"20", {}, None)


async def test_delete_of_the_expected_version_removes_the_item(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"x", indexes={"due": Key("s", "1")})])
    await store.commit([Delete(PAYMENT, expected=1)])
    assert await store.get(PAYMENT) is None
    assert (await store.query(PAYMENT.partition)).items == []
    assert (await store.query_index("due", "s")).items == []


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_delete_of_another_version_conflicts_and_the_item_stays(store: Store, expected: int) -> None:
    await fill(store, Put(PAYMENT, b"x"), Put(PAYMENT, b"y", expected=1))
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Delete(PAYMENT, expected=expected)])
    assert conflict.value.key == PAYMENT
    assert await store.get(PAYMENT) == Item(PAYMENT, 2, b"y", {}, None)


async def test_item_deleted_and_written_again_starts_at_version_one(store: Store) -> None:
    await fill(store, Put(PAYMENT, b"x"), Put(PAYMENT, b"y", expected=1), Delete(PAYMENT, expected=2))
    with pytest.raises(WriteConflict):
        await store.commit([Put(PAYMENT, b"stale", expected=2)])
    await store.commit([Put(PAYMENT, b"again")])
    assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"again", {}, None)


async def test_check_that_holds_lets_the_rest_through_and_writes_nothing(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"x")])
    await store.commit([Check(PAYMENT, expected=1), Check(Key("no", "where"), expected=ABSENT), Put(OTHER, b"y")])
    assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"x", {}, None)
    assert await store.get(Key("no", "where")) is None
    assert await store.get(OTHER) == Item(OTHER, 1, b"y", {}, None)


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_check_that_fails_stops_the_rest(store: Store, expected: int) -> None:
    await fill(store, Put(PAYMENT, b"x"), Put(PAYMENT, b"y", expected=1))
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(OTHER, b"y"), Check(PAYMENT, expected=expected)])
    assert conflict.value.key == PAYMENT
    assert await store.get(OTHER) is None


# -- commit: all or nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2, 3])
async def test_commit_with_one_failing_write_applies_none(store: Store, place: int) -> None:
    existing, indexed = Key("p", "existing"), Key("p", "indexed")
    await fill(store, Put(existing, b"old"), Put(indexed, b"old", indexes={"due": Key("s", "1")}))
    writes: list[Write] = [
        Put(Key("p", "new"), b"new", indexes={"due": Key("s", "0")}),
        Put(existing, b"new", expected=1, indexes={"due": Key("s", "2")}),
        Delete(indexed, expected=1),
    ]
    writes.insert(place, Put(Key("p", "bad"), b"new", expected=9))
    with pytest.raises(WriteConflict) as conflict:
        await store.commit(writes, [event(1)])
    assert conflict.value.key == Key("p", "bad")
    assert (await store.query("p")).items == [
        Item(existing, 1, b"old", {}, None),
        Item(indexed, 1, b"old", {"due": Key("s", "1")}, None),
    ]
    assert sorts(await store.query_index("due", "s")) == ["indexed"]
    assert await store.history("pay_1") == []


async def test_conflict_names_the_first_failing_write(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"x")])
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(Key("ok", "ok"), b""), Check(OTHER, expected=3), Put(PAYMENT, b"y")])
    assert conflict.value.key == OTHER
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(Key("ok", "ok"), b""), Put(PAYMENT, b"y"), Check(OTHER, expected=3)])
    assert conflict.value.key == PAYMENT


async def test_conflicts_among_concurrent_commits_do_not_touch_their_neighbours(storage: Storage) -> None:
    store = storage.store
    await store.commit([Put(PAYMENT, b"x")], [event(1)])
    bad: list[tuple[Sequence[Write], Sequence[Event]]] = [
        ([Put(Key("p", "bad"), b"", indexes={"due": Key("s", "bad")}), Put(PAYMENT, b"y")], [event(7)]),
        ([Put(Key("p", "bad"), b"")], [event(8), event(1)]),
        ([Put(Key("p", "bad"), b""), Delete(PAYMENT, expected=5)], ()),
    ]
    commits = [store.commit([Put(Key("p", f"good {n}"), b"")], [event(n + 2)]) for n in range(3)]
    commits += [store.commit(*commit) for commit in bad]
    commits += [store.commit([Put(Key("p", f"good {n}"), b"")], [event(n + 2)]) for n in range(3, 6)]
    results = await outcomes(*commits)
    assert [type(result) for result in results] == [type(None)] * 3 + [WriteConflict] * 3 + [type(None)] * 3
    assert sorts(await store.query("p")) == [f"good {n}" for n in range(6)]
    assert [kept.version for kept in await store.history("pay_1")] == [1, 2, 3, 4, 5, 6, 7]
    assert (await store.query_index("due", "s")).items == []


async def test_commit_sees_what_concurrent_commits_before_it_wrote(store: Store) -> None:
    results = await outcomes(
        store.commit([Put(PAYMENT, b"1")]),
        store.commit([Put(PAYMENT, b"2", expected=1)]),
        store.commit([Put(PAYMENT, b"stale", expected=1)]),
        store.commit([Check(PAYMENT, expected=2), Put(OTHER, b"3")]),
    )
    assert [type(result) for result in results] == [type(None), type(None), WriteConflict, type(None)]
    assert await store.get(PAYMENT) == Item(PAYMENT, 2, b"2", {}, None)


async def test_concurrent_commits_come_out_as_if_one_came_after_the_other(store: Store) -> None:
    """In whatever order: where calls go over a network, that is not theirs to say."""
    commits = ((0, b"1"), (1, b"2"), (1, b"other"), (2, b"3"))
    for number in range(5):
        key = Key("ten_a/pay", f"pay_{number}")
        results = await outcomes(*(store.commit([Put(key, value, expected)]) for expected, value in commits))
        assert {type(result) for result in results} <= {type(None), WriteConflict}
        won = [value for (_, value), result in zip(commits, results, strict=True) if result is None]
        item = await store.get(key)
        assert item is not None
        assert (set(won), item.version, item.value) in [one_after_the_other(order) for order in permutations(commits)]


def one_after_the_other(commits: Iterable[tuple[int, bytes]]) -> tuple[set[bytes], int, bytes]:
    """Which values are written when commits come in this order, then the version and the value that are there."""
    won = []
    for expected, value in commits:
        if expected == len(won):
            won.append(value)
    return set(won), len(won), won[-1]


async def test_cancelled_commit_is_whole_or_absent(store: Store) -> None:
    task = asyncio.create_task(store.commit([Put(PAYMENT, b"x"), Put(OTHER, b"y")], [event(1)]))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await store.commit([Put(Key("later", "later"), b"")])
    seen = [await store.get(PAYMENT) is None, await store.get(OTHER) is None, await store.history("pay_1") == []]
    assert len(set(seen)) == 1


# -- commit: events -------------------------------------------------------------------------------------------------


async def test_event_comes_back_whole(store: Store) -> None:
    sent = event(1, data='{"payment":{"id":"pay_1","description":"Größe ☃"}}'.encode())
    await store.commit([Put(PAYMENT, b"x")], [sent])
    assert await store.history("pay_1") == [sent]


async def test_events_without_writes_are_recorded(store: Store) -> None:
    await store.commit([], [event(1), event(1, aggregate="pay_2")])
    assert await store.history("pay_1") == [event(1)]
    assert await store.history("pay_2") == [event(1, aggregate="pay_2")]


async def test_event_of_a_version_taken_conflicts_and_nothing_is_written(store: Store) -> None:
    await store.commit([], [event(1), event(2)])
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(OTHER, b"x")], [event(1, aggregate="pay_2"), event(2, data=b'{"again":1}')])
    assert conflict.value.key == ("event", "pay_1")
    assert await store.get(OTHER) is None
    assert await store.history("pay_1") == [event(1), event(2)]
    assert await store.history("pay_2") == []


async def test_two_events_of_one_version_in_one_commit_conflict(store: Store) -> None:
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(OTHER, b"x")], [event(1), event(1)])
    assert conflict.value.key == ("event", "pay_1")
    assert await store.get(OTHER) is None
    assert await store.history("pay_1") == []


@pytest.mark.parametrize("start", [0, 1])
async def test_of_two_racing_events_of_one_version_exactly_one_is_recorded(storage: Storage, start: int) -> None:
    before = [event(version + 1) for version in range(start)]
    for earlier in before:
        await storage.store.commit([], [earlier])
    results = await outcomes(
        *(
            one.commit([Put(Key("p", str(n)), b"")], [event(start + 1, data=b'{"n":%d}' % n)])
            for n, one in enumerate([storage.store, storage.other_store, storage.store])
        )
    )
    winners = [n for n, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert await storage.store.history("pay_1") == [*before, event(start + 1, data=b'{"n":%d}' % winners[0])]
    assert sorts(await storage.store.query("p")) == [str(winners[0])]


async def test_failing_write_is_named_before_a_taken_event(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"x")], [event(1)])
    with pytest.raises(WriteConflict) as conflict:
        await store.commit([Put(PAYMENT, b"y")], [event(1)])
    assert conflict.value.key == PAYMENT


# -- history --------------------------------------------------------------------------------------------------------


async def test_history_is_ordered_by_version_however_it_was_written(store: Store) -> None:
    for version in (3, 1, 10, 2):
        await store.commit([], [event(version)])
    assert [kept.version for kept in await store.history("pay_1")] == [1, 2, 3, 10]
    assert [kept.version for kept in await store.history("pay_1", limit=2)] == [1, 2]
    assert [kept.version for kept in await store.history("pay_1", after_version=2)] == [3, 10]


async def test_history_goes_on_behind_a_version_and_stops_at_its_limit(store: Store) -> None:
    await store.commit([], [event(version) for version in range(1, 8)])
    assert [kept.version for kept in await store.history("pay_1", after_version=2, limit=3)] == [3, 4, 5]
    assert await store.history("pay_1", after_version=7) == []


async def test_history_shorter_than_its_limit_is_all_of_it_though_it_has_megabytes(store: Store) -> None:
    chance = random.Random(7)
    for version in range(1, 19):
        await store.commit([], [event(version, data=b'"%s"' % chance.randbytes(100_000).hex().encode())])
    assert [kept.version for kept in await store.history("pay_1", limit=19)] == list(range(1, 19))


async def test_history_of_an_unknown_aggregate_is_empty(store: Store) -> None:
    await store.commit([], [event(1)])
    assert await store.history("pay_") == []
    assert await store.history("pay_10") == []


async def test_history_is_seen_by_everybody_once_the_commit_returned(storage: Storage) -> None:
    await storage.store.commit([], [event(1)])
    assert await storage.other_store.history("pay_1") == [event(1)]


# -- query ----------------------------------------------------------------------------------------------------------

BYTEWISE = ["!", "0", "10", "2", "A", "Z", "a", "a!", "a/", "a/b", "aa", "z", "é", "é!", "ﬀ", "😀"]
"""In the order of their UTF-8 bytes; UTF-16 would put the last two the other way round."""


async def test_query_orders_by_the_bytes_of_the_sort_key(store: Store) -> None:
    await fill(store, *(Put(Key("p", sort), sort.encode()) for sort in BYTEWISE[1::2][::-1] + BYTEWISE[::2]))
    page = await store.query("p")
    assert sorts(page) == BYTEWISE
    assert [item.value.decode() for item in page.items] == BYTEWISE
    assert page.next is None
    assert sorts(await store.query("p", newest_first=True)) == BYTEWISE[::-1]


async def test_query_stays_within_its_partition(store: Store) -> None:
    await fill(store, *(Put(Key(partition, "x"), b"") for partition in ("p", "p/", "p/q", "o", "q", "P")))
    assert [item.key for item in (await store.query("p")).items] == [Key("p", "x")]
    assert (await store.query("nowhere")).items == []


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a", ["a", "a!", "a/", "a/b", "aa"]),
        ("a/", ["a/", "a/b"]),
        ("é", ["é", "é!"]),
        ("😀", ["😀"]),
        ("b", []),
        ("%", []),
        ("", BYTEWISE),
    ],
)
async def test_query_with_a_prefix_finds_just_what_starts_so(store: Store, prefix: str, expected: list[str]) -> None:
    await fill(store, *(Put(Key("p", sort), b"") for sort in BYTEWISE))
    assert sorts(await store.query("p", prefix=prefix)) == expected
    assert sorts(await store.query("p", prefix=prefix, newest_first=True)) == expected[::-1]


async def test_query_with_a_prefix_at_the_end_of_unicode(store: Store) -> None:
    last, edge = "\U0010ffff", "\ud7ff"
    await fill(store, *(Put(Key("p", sort), b"") for sort in ("a" + last, "b", edge, edge + "x", "\ue000", last)))
    assert sorts(await store.query("p", prefix="a" + last)) == ["a" + last]
    assert sorts(await store.query("p", prefix=last)) == [last]
    assert sorts(await store.query("p", prefix=edge)) == [edge, edge + "x"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 5, 16, 17, 1000])
async def test_pages_put_together_are_the_whole_partition(store: Store, limit: int, newest_first: bool) -> None:
    await fill(store, *(Put(Key("p", sort), b"") for sort in BYTEWISE))
    assert await all_pages(store, "p", limit=limit, newest_first=newest_first) == (
        BYTEWISE[::-1] if newest_first else BYTEWISE
    )


async def test_page_of_several_megabytes_is_whole(store: Store) -> None:
    for number in range(5):
        await store.commit([Put(Key("p", str(number)), bytes(VALUE_BYTES_MAX))])
    assert sorts(await store.query("p", limit=10)) == ["0", "1", "2", "3", "4"]


async def test_next_is_none_exactly_when_nothing_follows(store: Store) -> None:
    await fill(store, *(Put(Key("p", sort), b"") for sort in "abc"))
    assert (await store.query("p", limit=2)).next is not None
    assert (await store.query("p", limit=3)).next is None
    assert (await store.query("nowhere")).next is None


async def test_query_starts_behind_any_sort_key_there_or_not(store: Store) -> None:
    await fill(store, *(Put(Key("p", sort), b"") for sort in ("a", "c", "e", "x/1", "x/2")))
    assert sorts(await store.query("p", after="c")) == ["e", "x/1", "x/2"]
    assert sorts(await store.query("p", after="b")) == ["c", "e", "x/1", "x/2"]
    assert sorts(await store.query("p", after="c", newest_first=True)) == ["a"]
    assert sorts(await store.query("p", after="d", newest_first=True)) == ["c", "a"]
    assert sorts(await store.query("p", prefix="x/", after="a")) == ["x/1", "x/2"]
    assert sorts(await store.query("p", prefix="x/", after="x/1")) == ["x/2"]
    assert sorts(await store.query("p", prefix="x/", after="z", newest_first=True)) == ["x/2", "x/1"]
    assert sorts(await store.query("p", prefix="x/", after="z")) == []
    assert sorts(await store.query("p", prefix="x/", after="a", newest_first=True)) == []


async def test_query_sees_a_commit_once_it_returned(storage: Storage) -> None:
    await storage.store.commit([Put(Key("p", "a"), b"1")])
    assert sorts(await storage.other_store.query("p")) == ["a"]
    await storage.store.commit([Delete(Key("p", "a"), expected=1)])
    assert sorts(await storage.other_store.query("p")) == []


# -- query_index ----------------------------------------------------------------------------------------------------


def due(name: str, at: str, *, shard: str = "s", expected: int = ABSENT) -> Put:
    return Put(Key("p", name), name.encode(), expected=expected, indexes={"due": Key(shard, at)})


async def test_index_holds_the_items_that_ask_for_it_in_the_order_there(store: Store) -> None:
    await fill(store, due("a", "3"), due("b", "1"), due("c", "2"), Put(Key("p", "d"), b""), due("e", "0", shard="t"))
    page = await store.query_index("due", "s")
    assert [item.value for item in page.items] == [b"b", b"c", b"a"]
    assert page.items[0] == Item(Key("p", "b"), 1, b"b", {"due": Key("s", "1")}, None)
    assert sorts(await store.query_index("due", "s", newest_first=True)) == ["a", "c", "b"]
    assert sorts(await store.query_index("due", "t")) == ["e"]
    assert sorts(await store.query_index("other", "s")) == []


async def test_item_stands_in_several_indexes_at_once(store: Store) -> None:
    indexes = {"due": Key("s", "1"), "customer": Key("cus_1", "pay_1"), "status": Key("failed", "pay_1")}
    await store.commit([Put(PAYMENT, b"x", indexes=indexes)])
    for name, place in indexes.items():
        assert [item.key for item in (await store.query_index(name, place.partition)).items] == [PAYMENT]
    await store.commit([Put(PAYMENT, b"x", expected=1, indexes={"due": Key("s", "2"), "status": Key("ok", "pay_1")})])
    assert (await store.query_index("customer", "cus_1")).items == []
    assert (await store.query_index("status", "failed")).items == []
    assert sorts(await store.query_index("status", "ok")) == ["state"]
    assert sorts(await store.query_index("due", "s")) == ["state"]


async def test_put_moves_the_item_within_its_index(store: Store) -> None:
    await fill(store, due("a", "1"), due("b", "2"), due("a", "3", expected=1))
    assert sorts(await store.query_index("due", "s")) == ["b", "a"]
    assert sorts(await store.query_index("due", "s", upto="2")) == ["b"]


async def test_put_that_names_no_index_leaves_all(store: Store) -> None:
    await fill(store, due("a", "1"), Put(Key("p", "a"), b"done", expected=1))
    assert (await store.query_index("due", "s")).items == []
    await store.commit([due("a", "5", expected=2)])
    assert [item.version for item in (await store.query_index("due", "s")).items] == [3]


async def test_put_that_keeps_its_place_shows_the_new_value_there_once(store: Store) -> None:
    await fill(store, due("a", "1"), Put(Key("p", "a"), b"new", expected=1, indexes={"due": Key("s", "1")}))
    assert (await store.query_index("due", "s")).items == [Item(Key("p", "a"), 2, b"new", {"due": Key("s", "1")}, None)]


async def test_upto_includes_its_own_key_and_nothing_behind(store: Store) -> None:
    await fill(store, due("a", "1"), due("b", "2"), due("c", "2"), due("d", "20"), due("e", "3"))
    oldest_first = sorts(await store.query_index("due", "s", upto="2"))
    assert (oldest_first[:1], sorted(oldest_first[1:])) == (["a"], ["b", "c"])
    newest_first = sorts(await store.query_index("due", "s", upto="2", newest_first=True))
    assert (sorted(newest_first[:2]), newest_first[2:]) == (["b", "c"], ["a"])
    assert sorts(await store.query_index("due", "s", upto="0")) == []
    assert sorts(await store.query_index("due", "s", upto="9")) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("upto", [None, "2", "3"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_index_pages_put_together_are_the_whole_also_among_equal_keys(
    store: Store, limit: int, upto: str | None, newest_first: bool
) -> None:
    await fill(store, *(due(f"item {n:02d}", str(n // 3)) for n in range(12)))
    expected = [f"item {n:02d}" for n in range(12) if upto is None or str(n // 3) <= upto]
    found: list[str] = []
    places: list[str] = []
    after = None
    while True:
        page = await store.query_index("due", "s", upto=upto, after=after, limit=limit, newest_first=newest_first)
        assert len(page.items) <= limit
        found += sorts(page)
        places += [item.indexes["due"].sort for item in page.items]
        after = page.next
        if after is None:
            break
    assert sorted(found) == expected
    assert places == sorted(places, reverse=newest_first)


async def test_index_query_starts_behind_any_sort_key(store: Store) -> None:
    await fill(store, due("a", "1"), due("b", "2"), due("c", "2"), due("d", "4"))
    assert sorts(await store.query_index("due", "s", after="2")) == ["d"]
    assert sorted(sorts(await store.query_index("due", "s", after="1"))) == ["b", "c", "d"]
    assert sorts(await store.query_index("due", "s", after="3")) == ["d"]
    assert sorts(await store.query_index("due", "s", after="2", newest_first=True)) == ["a"]
    assert sorts(await store.query_index("due", "s", after="9", upto="1", newest_first=True)) == ["a"]
    assert sorted(sorts(await store.query_index("due", "s", after="1", upto="2"))) == ["b", "c"]
    assert sorts(await store.query_index("due", "s", after="9", upto="2")) == []


async def test_deleted_and_rewritten_item_has_only_its_new_places(store: Store) -> None:
    await fill(store, due("a", "1"), Delete(Key("p", "a"), expected=1), Put(Key("p", "a"), b"plain"))
    assert (await store.query_index("due", "s")).items == []


# -- bad input ------------------------------------------------------------------------------------------------------

BAD_KEYS = [
    Key("", "sort"),
    Key("partition", ""),
    Key("nul\0", "sort"),
    Key("partition", "nul\0"),
    Key("\ud800", "sort"),
    Key("partition", "half \udfff"),
    Key("p" * 1025, "sort"),
    Key("partition", "é" * 513),
]


def puts(count: int) -> list[Write]:
    return [Put(Key("p", f"{n:03d}"), b"") for n in range(count)]


async def test_commit_of_nothing_is_invalid(store: Store) -> None:
    with pytest.raises(Invalid):
        await store.commit([])


async def test_25_writes_and_events_are_the_most(store: Store) -> None:
    await store.commit(puts(25))
    assert len((await store.query("p")).items) == 25
    await store.commit([Put(PAYMENT, b"")], [event(version) for version in range(1, 25)])
    assert len(await store.history("pay_1")) == 24


@pytest.mark.parametrize(("writes", "events"), [(26, 0), (25, 1), (0, 26), (13, 13)])
async def test_more_than_25_writes_and_events_are_invalid(store: Store, writes: int, events: int) -> None:
    with pytest.raises(Invalid):
        await store.commit(puts(writes), [event(version) for version in range(1, events + 1)])
    assert (await store.query("p")).items == []
    assert await store.history("pay_1") == []


@pytest.mark.parametrize(
    "again",
    [Put(PAYMENT, b"2"), Put(PAYMENT, b"2", expected=1), Delete(PAYMENT, expected=1), Check(PAYMENT, expected=0)],
)
async def test_key_that_appears_twice_is_invalid(store: Store, again: Write) -> None:
    with pytest.raises(Invalid):
        await store.commit([Put(PAYMENT, b"1"), Put(OTHER, b"x"), again])
    assert await store.get(PAYMENT) is None
    assert await store.get(OTHER) is None


async def test_largest_value_is_stored_and_one_byte_more_is_invalid(store: Store) -> None:
    await store.commit([Put(PAYMENT, b"x" * VALUE_BYTES_MAX)])
    item = await store.get(PAYMENT)
    assert item is not None and item.value == b"x" * VALUE_BYTES_MAX
    with pytest.raises(Invalid):
        await store.commit([Put(Key("p", "a"), b""), Put(OTHER, b"x" * (VALUE_BYTES_MAX + 1))])
    assert await store.get(OTHER) is None
    assert await store.get(Key("p", "a")) is None


async def test_oversized_event_is_invalid(store: Store) -> None:
    with pytest.raises(Invalid):
        await store.commit([Put(PAYMENT, b"")], [event(1, data=b'"%s"' % (b"x" * VALUE_BYTES_MAX))])
    assert await store.get(PAYMENT) is None


@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
async def test_key_that_cannot_be_stored_is_invalid_everywhere(store: Store, key: Key) -> None:
    bad_writes: list[Write] = [
        Put(key, b""),
        Delete(key, expected=0),
        Check(key, expected=0),
        Put(PAYMENT, b"", indexes={"due": key}),
    ]
    for bad in bad_writes:
        with pytest.raises(Invalid):
            await store.commit([Put(OTHER, b""), bad])
    with pytest.raises(Invalid):
        await store.get(key)
    assert await store.get(OTHER) is None


async def test_longest_keys_are_stored(store: Store) -> None:
    key = Key("é" * 512, "s" * 1024)
    await store.commit([Put(key, b"x", indexes={"due": key})])
    assert [item.key for item in (await store.query_index("due", key.partition)).items] == [key]


@pytest.mark.parametrize(
    "odd", ["a'b", 'a"b', "%_", "; DROP TABLE items", "e\u0301", "\u202e", " ", "\t\n", "\x7f", "�"]
)
async def test_odd_but_valid_keys_come_back_as_they_were(store: Store, odd: str) -> None:
    key = Key(odd, odd)
    await store.commit([Put(key, b"x", indexes={"due": key})], [event(1, aggregate=odd)])
    assert await store.get(key) == Item(key, 1, b"x", {"due": key}, None)
    assert sorts(await store.query(odd, prefix=odd)) == [odd]
    assert sorts(await store.query_index("due", odd, upto=odd)) == [odd]
    assert await store.history(odd) == [event(1, aggregate=odd)]


async def test_text_that_is_not_unicode_is_invalid(store: Store) -> None:
    bad = "\ud800"
    with pytest.raises(Invalid):
        await store.commit([Put(PAYMENT, b"", indexes={bad: Key("a", "b")})])
    with pytest.raises(Invalid):
        await store.commit([Put(PAYMENT, b"")], [event(1, aggregate=bad)])
    for search in (store.query(bad), store.query("p", prefix=bad), store.query("p", after=bad)):
        with pytest.raises(Invalid):
            await search
    for search in (
        store.query_index(bad, "p"),
        store.query_index("due", bad),
        store.query_index("due", "p", upto=bad),
        store.query_index("due", "p", after=bad),
    ):
        with pytest.raises(Invalid):
            await search
    with pytest.raises(Invalid):
        await store.history(bad)
    assert await store.get(PAYMENT) is None


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limit_out_of_range_is_invalid(store: Store, limit: int) -> None:
    with pytest.raises(Invalid):
        await store.query("p", limit=limit)
    with pytest.raises(Invalid):
        await store.query_index("due", "p", limit=limit)
    with pytest.raises(Invalid):
        await store.history("pay_1", limit=limit)


async def test_position_that_is_no_index_position_is_invalid(store: Store) -> None:
    with pytest.raises(Invalid):
        await store.query_index("due", "s", after="a\0b")
