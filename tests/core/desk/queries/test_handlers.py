"""Export and compaction over real files, and saved queries."""

import pytest

from interlock.backends.duckdb.analysis import DuckAnalysis
from interlock.backends.duckdb.files import ParquetFiles
from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.audit import PLATFORM, list_audit
from interlock.core.desk.queries import handlers
from interlock.core.desk.queries.commands import SaveQuery
from interlock.core.desk.queries.handlers import (
    Compacted,
    compact,
    delete_query,
    export,
    list_queries,
    load_query,
    run_query,
    save_query,
)
from interlock.core.desk.queries.model import Chart, ChartKind, Cost, Limits, Table
from interlock.core.desk.queries.ports import Exports, Queries
from interlock.core.kernel.clock import DAY
from interlock.core.kernel.errors import Conflict, Forbidden, Invalid, NotFound, StoreUnavailable, WriteConflict
from tests.clocks import ManualClock
from tests.core.desk.queries.stories import business_day, end_worlds, events_of, exported

NOW = 1_800_000_000_000
TODAY = "2027-01-15"
FIGURES = (
    "SELECT count(*), count(DISTINCT id) FROM events",
    "SELECT id, version, status, amount_captured FROM payments ORDER BY id",
    "SELECT id, outcome, payment_version FROM attempts ORDER BY id",
    "SELECT id, status FROM refunds ORDER BY id",
    "SELECT id, status FROM disputes ORDER BY id",
    "SELECT account, sum(amount), count(*) FROM postings GROUP BY account ORDER BY account",
    "SELECT count(*), sum(amount) FROM journals",
    "SELECT count(*), sum(duration_ms) FROM exchanges",
    "SELECT count(*), sum(version) FROM payment_versions",
)
"""What any reader of all segments must find, however they were cut, repeated and merged."""


@pytest.fixture(autouse=True)
async def worlds():
    yield
    await end_worlds()


async def figures(blobs, folder):
    analysis = DuckAnalysis(blobs, ManualClock(NOW), folder)
    try:
        return [(await analysis.query(sql, Limits())).rows for sql in FIGURES]
    finally:
        await analysis.close()


async def test_same_batch_twice_writes_nothing_the_second_time():
    world, _ = await business_day()
    events = await events_of(world)
    means = await exported(events)
    before = dict(means.blobs._blobs)
    keys = await export(means, events[:7])
    await exported(events, blobs=means.blobs)
    assert means.blobs._blobs == before
    assert set(keys) <= set(before)
    assert keys[-1].startswith("desk/exports/events/2027-01-15/evt_")


async def test_batch_over_midnight_is_split_by_day():
    world, _ = await business_day()
    first, *_, last = await events_of(world)
    later = type(first)(**{name: getattr(last, name) for name in last.__struct_fields__} | {"at": last.at + DAY})
    means = Exports(MemoryBlobs(), ParquetFiles())
    days = {key.split("/")[3] for key in await export(means, [first, later])}
    assert days == {TODAY, "2027-01-16"}


async def test_export_of_nothing_is_nothing():
    means = Exports(MemoryBlobs(), ParquetFiles())
    assert await export(means, []) == []


class FullBlobs(MemoryBlobs):
    left = 2

    async def put(self, key, content):
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("full")
        return await super().put(key, content)


async def test_export_that_failed_half_way_is_made_whole_by_the_repetition_and_events_come_last():
    world, _ = await business_day()
    events = await events_of(world)
    means = Exports(FullBlobs(), ParquetFiles())
    with pytest.raises(StoreUnavailable):
        await export(means, events)
    assert len(means.blobs._blobs) == 2
    assert not any("/events/" in key for key in means.blobs._blobs)
    means.blobs.left = 1_000
    await export(means, events)
    straight = Exports(MemoryBlobs(), ParquetFiles())
    await export(straight, events)
    assert sorted(means.blobs._blobs) == sorted(straight.blobs._blobs)


async def test_figures_are_the_same_however_events_were_cut_repeated_and_merged(tmp_path):
    world, _ = await business_day()
    events = await events_of(world)
    once = await exported(events, batch=1_000)
    expected = await figures(once.blobs, tmp_path / "once")
    assert expected[0] == ((len(events), len(events)),)
    cut = await exported(events, batch=7)
    await exported(list(reversed(events)), blobs=cut.blobs, batch=5)
    assert await figures(cut.blobs, tmp_path / "cut") == expected
    # A reader that goes on from before the merge, and one that begins after it.
    assert (await compact(cut, TODAY)).merged > 10
    assert await figures(cut.blobs, tmp_path / "cut") == expected
    assert await figures(cut.blobs, tmp_path / "after") == expected
    assert await compact(cut, TODAY) == Compacted(0, 0)
    await exported(events, blobs=cut.blobs, batch=3)
    await compact(cut, TODAY)
    assert await figures(cut.blobs, tmp_path / "again") == expected


async def test_compaction_that_ended_before_its_manifest_is_not_believed(tmp_path):
    world, _ = await business_day()
    means = await exported(await events_of(world))
    expected = await figures(means.blobs, tmp_path / "before")
    await compact(means, TODAY)
    manifests = [key for key in means.blobs._blobs if key.endswith(".json")]
    assert len(manifests) == 6
    for key in manifests:
        del means.blobs._blobs[key]
    for key in [key for key in means.blobs._blobs if "merged-" in key]:
        means.blobs._blobs[key] = b"half"
    assert await figures(means.blobs, tmp_path / "after") == expected


async def test_day_with_more_segments_than_fit_is_merged_in_several_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(handlers, "FILES_MAX", 3)
    world, _ = await business_day()
    means = await exported(await events_of(world), batch=3)
    expected = await figures(means.blobs, tmp_path / "before")
    done, calls = await compact(means, TODAY), 1
    while done.left:
        done, calls = await compact(means, TODAY), calls + 1
    assert calls > 1
    assert await figures(means.blobs, tmp_path / "after") == expected


# Saved queries


class FakeAnalysis:
    """Refuses what holds `refuse`, and answers everything else with one row."""

    def __init__(self):
        self.asked = []

    async def check(self, sql):
        if "refuse" in sql:
            raise Invalid("not allowed", code="sql_not_allowed")

    async def query(self, sql, limits):
        await self.check(sql)
        self.asked.append((sql, limits))
        return Table((), ((1,),), False, Cost(0.1), None)


@pytest.fixture
def means():
    clock = ManualClock(NOW)
    return Queries(MemoryStore(clock), clock, SystemIds(clock), FakeAnalysis())


SAVE = SaveQuery("slow-ones", "Which are slow?", "SELECT 1", Chart(ChartKind.BAR, "a", "b"))


async def audited(means):
    page = await list_audit(means.store, tenant=PLATFORM, day=TODAY)
    return [(one.action, one.actor, one.detail.get("name")) for one in reversed(page.records)]


async def test_saved_query_is_listed_and_its_event_and_audit_record_are_there(means):
    saved = await save_query(means, SAVE, actor="ada")
    assert (saved.name, saved.owner, saved.version, saved.chart) == ("slow-ones", "ada", 1, SAVE.chart)
    assert saved.id.startswith("qry_")
    assert await list_queries(means) == [saved] == [await load_query(means, "slow-ones")]
    (event,) = await means.store.history(saved.id)
    assert (event.type, event.tenant, bytes(event.data)) == ("query.saved", PLATFORM, b"{}")
    assert await audited(means) == [("query.saved", "ada", "slow-ones")]


async def test_saved_again_is_the_next_version_and_the_same_again_is_nothing(means):
    first = await save_query(means, SAVE, actor="ada")
    means.clock.advance(1)
    changed = SaveQuery("slow-ones", "Which are slow?", "SELECT 2")
    second = await save_query(means, changed, actor="ada")
    assert (second.id, second.version, second.sql, second.created_at) == (first.id, 2, "SELECT 2", first.created_at)
    assert second.updated_at == NOW + 1_000
    assert await save_query(means, changed, actor="ada") == second
    assert [event.version for event in await means.store.history(first.id)] == [1, 2]


async def test_query_that_could_not_run_is_not_saved(means):
    with pytest.raises(Invalid):
        await save_query(means, SaveQuery("bad", "?", "refuse"), actor="ada")
    assert await list_queries(means) == []
    assert await audited(means) == []


async def test_somebody_elses_query_is_neither_changed_nor_deleted(means):
    saved = await save_query(means, SAVE, actor="ada")
    with pytest.raises(Forbidden) as refused:
        await save_query(means, SAVE, actor="bob")
    assert refused.value.reason == "not_owner"
    with pytest.raises(Forbidden):
        await delete_query(means, "slow-ones", actor="bob")
    assert await list_queries(means) == [saved]


async def test_deleted_query_is_gone_and_its_name_is_free_for_a_new_one(means):
    saved = await save_query(means, SAVE, actor="ada")
    assert (await delete_query(means, "slow-ones", actor="ada")).version == 2
    assert await list_queries(means) == []
    for gone in ("slow-ones", "never", ""):
        with pytest.raises(NotFound):
            await load_query(means, gone)
        with pytest.raises(NotFound):
            await delete_query(means, gone, actor="ada")
    again = await save_query(means, SAVE, actor="bob")
    assert again.id != saved.id
    assert await audited(means) == [
        *(
            ("query.saved", "ada", "slow-ones"),
            ("query.deleted", "ada", "slow-ones"),
            ("query.saved", "bob", "slow-ones"),
        )
    ]


async def test_too_many_queries_are_refused_and_those_there_can_still_change(means, monkeypatch):
    monkeypatch.setattr(handlers, "QUERIES_MAX", 2)
    await save_query(means, SAVE, actor="ada")
    await save_query(means, SaveQuery("b", "?", "SELECT 1"), actor="ada")
    with pytest.raises(Conflict) as refused:
        await save_query(means, SaveQuery("c", "?", "SELECT 1"), actor="ada")
    assert refused.value.reason == "too_many_queries"
    assert (await save_query(means, SaveQuery("b", "?", "SELECT 2"), actor="ada")).version == 2


async def test_lost_race_is_decided_again_on_what_the_other_wrote(means):
    class Raced(MemoryStore):
        others = None

        async def commit(self, writes, events=()):
            if self.others is not None:
                other, self.others = self.others, None
                await other()
                raise WriteConflict(writes[0].key)
            await super().commit(writes, events)

    raced = means._replace(store=Raced(means.clock))

    async def other():
        await save_query(raced, SAVE, actor="bob")

    raced.store.others = other
    with pytest.raises(Forbidden):
        await save_query(raced, SAVE, actor="ada")
    assert [one.owner for one in await list_queries(raced)] == ["bob"]


async def test_running_a_query_leaves_who_asked_and_what_even_if_it_is_refused(means):
    answer = await run_query(means, "SELECT '4111111111111111'", actor="ada")
    assert answer.rows == ((1,),)
    assert means.analysis.asked == [("SELECT '4111111111111111'", Limits())]
    with pytest.raises(Invalid):
        await run_query(means, "refuse \ud800", actor="bob")
    page = await list_audit(means.store, tenant=PLATFORM, day=TODAY)
    told = [(one.action, one.actor, one.detail["sql"]) for one in reversed(page.records)]
    assert told == [("query.run", "ada", "SELECT '[card number]'"), ("query.run", "bob", "refuse ?")]
