"""Analysis as a whole: real processes, real limits; and what it leaves behind when somebody wants more than to read."""

import asyncio
import os
import signal

import pytest
import uvloop

from interlock.backends.duckdb.children import Child, ChildDied
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.core.desk.queries.handlers import compact, export
from interlock.core.desk.queries.model import Limits, QueryStopped, ResultColumn, StopReason
from interlock.core.kernel.errors import Invalid, StoreUnavailable, Unavailable
from tests.backends.duckdb.attacks import ATTACKS, CANARY, filled, laid_out, seen
from tests.backends.duckdb.worlds import NOW, analysis_over, event, means_with

SMALL = Limits(seconds=20.0, memory_bytes=64 * 1024 * 1024)
COUNT = "SELECT count(*) FROM events"
CROSSED = "SELECT count(*) FROM " + ", ".join(f"events AS e{number}" for number in range(12))
"""Over twenty rows this would take years, and hardly any memory."""


def twenty():
    return [event(number) for number in range(20)]


async def test_query_answers_with_types_rows_cost_and_how_new_they_are(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        answer = await analysis.query(
            "SELECT type, count(*) AS n, max(occurred_at) AS at FROM events GROUP BY type", SMALL
        )
    assert answer.columns == (
        ResultColumn("type", "VARCHAR"),
        ResultColumn("n", "BIGINT"),
        ResultColumn("at", "TIMESTAMP"),
    )
    assert answer.rows == (("webhook_endpoint.created", 20, "2027-01-15T08:00:00.000Z"),)
    assert (answer.truncated, answer.exported_to) == (False, NOW)
    assert (answer.cost.rows_scanned, answer.cost.rows_returned) == (20, 1)
    assert 0 < answer.cost.seconds < 20
    assert 0 < answer.cost.memory_bytes < SMALL.memory_bytes


def test_queries_run_and_stop_in_the_loop_that_the_platform_runs_on(tmp_path):
    async def story():
        async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
            assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
            with pytest.raises(QueryStopped):
                await analysis.query(CROSSED, SMALL._replace(seconds=0.2))
            return (await analysis.query(COUNT, SMALL)).rows

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) == ((20,),)


async def test_values_of_every_kind_come_as_json_has_them(tmp_path):
    text = """SELECT 1, 1.5::DECIMAL(4,2), 0.5::DOUBLE, 'ü', true, NULL, DATE '2027-01-15', [1, 2], {'a': 'b'},
        INTERVAL 90 SECOND, 9223372036854775807::HUGEINT + 1, 'nan'::DOUBLE, TIME '01:02:03'"""
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        answer = await analysis.query(text, SMALL)
    assert answer.rows == (
        (
            1,
            "1.50",
            0.5,
            "ü",
            True,
            None,
            "2027-01-15",
            [1, 2],
            {"a": "b"},
            "0:01:30",
            "9223372036854775808",
            "nan",
            "01:02:03",
        ),
    )


async def test_no_attack_runs_writes_anything_or_brings_the_canary_home(tmp_path):
    folder = laid_out(tmp_path / "around")
    before = seen(folder)
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        here = seen(tmp_path / "analysis")
        for text in ATTACKS:
            with pytest.raises(Invalid) as refused:
                await analysis.query(filled(text, folder), SMALL)
            assert CANARY not in refused.value.detail
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        assert seen(tmp_path / "analysis") == here
    assert seen(folder) == before


async def test_query_over_its_time_is_stopped_and_says_what_it_cost(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        with pytest.raises(QueryStopped) as stopped:
            await analysis.query(CROSSED, SMALL._replace(seconds=0.5))
        assert stopped.value.why is StopReason.TIME
        # Well before the process would be killed: it heeds the interruption.
        assert 0.5 <= stopped.value.cost.seconds < 1.3
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)


@pytest.mark.parametrize(
    "text",
    [
        # The database's own limit.
        "SELECT max(l) FROM (SELECT list(a.id || b.id || c.id || d.id || e.id) AS l"
        " FROM events a, events b, events c, events d, events e)",
        "SELECT count(DISTINCT a.id || b.id || c.id || d.id || e.id) FROM events a, events b, events c, events d, events e",
        # Texts are not counted by it while they are made.
        "WITH a AS (SELECT string_agg(x.id || y.id, '') AS t FROM events x, events y),"
        " b AS (SELECT replace(t, 'e', t) AS t FROM a), c AS (SELECT replace(t, 'v', t) AS t FROM b) SELECT length(t) FROM c",
    ],
)
async def test_memory_bomb_is_stopped_and_the_next_query_is_answered(text, tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        with pytest.raises(QueryStopped) as stopped:
            await analysis.query(text, SMALL)
        assert stopped.value.why in (StopReason.MEMORY, StopReason.DIED)
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)


async def test_result_beyond_the_rows_is_cut_and_says_so(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        cut = await analysis.query("SELECT version FROM events", SMALL._replace(rows=7))
        whole = await analysis.query("SELECT version FROM events", SMALL._replace(rows=20))
        endless = await analysis.query(CROSSED.replace("count(*)", "e0.version"), SMALL._replace(rows=5))
    assert (len(cut.rows), cut.truncated, cut.cost.rows_returned) == (7, True, 7)
    assert (len(whole.rows), whole.truncated) == (20, False)
    assert (len(endless.rows), endless.truncated) == (5, True)


async def test_result_beyond_the_bytes_is_cut_and_says_so(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        cut = await analysis.query("SELECT id FROM events ORDER BY id", SMALL._replace(bytes=120))
    assert (len(cut.rows), cut.truncated) == (3, True)
    assert cut.rows[0] == (event(0).id,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT nope FROM events", 'Referenced column "nope" not found'),
        ("SELECT id::INT FROM events", "Could not convert string"),
        ("SELECT sum(type) FROM events", "No function matches"),
    ],
)
async def test_what_the_database_does_not_understand_is_invalid_in_its_words(text, says, tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        with pytest.raises(Invalid, match=says) as refused:
            await analysis.query(text, SMALL)
    assert refused.value.reason == "sql_not_understood"
    assert "LINE 1" not in refused.value.detail


async def test_check_refuses_what_query_would_and_runs_nothing(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.check(CROSSED)
        for text in ("SELECT nope FROM events", "DELETE FROM events", "SELECT getenv('HOME')"):
            with pytest.raises(Invalid):
                await analysis.check(text)


async def test_process_that_is_ended_from_outside_is_said_so_and_replaced(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.start(SMALL)
        (child,) = analysis._idle
        asked = asyncio.create_task(analysis.query(CROSSED, SMALL))
        while child not in analysis._busy:
            await asyncio.sleep(0)
        os.kill(child._process.pid, signal.SIGKILL)
        with pytest.raises(QueryStopped) as stopped:
            await asked
        assert stopped.value.why is StopReason.DIED
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)


async def test_process_that_answers_nothing_is_killed_when_time_is_over(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.start(SMALL)
        (child,) = analysis._idle
        os.kill(child._process.pid, signal.SIGSTOP)
        with pytest.raises(QueryStopped) as stopped:
            await analysis.query(COUNT, SMALL._replace(seconds=0.2))
        assert stopped.value.why is StopReason.TIME
        assert await child._process.wait() == -signal.SIGKILL


async def test_after_a_stop_another_process_is_made_ready_beside(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        with pytest.raises(QueryStopped):
            await analysis.query(CROSSED, SMALL._replace(seconds=0.2))
        await asyncio.gather(*analysis._preparing)
        (ready,) = analysis._idle
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        assert (list(analysis._idle), ready.questions) == ([ready], 1)


async def test_child_that_is_late_is_killed_by_whoever_asked_it(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.refresh()
        child = await Child.start(analysis._snapshots.latest.path, memory_bytes=SMALL.memory_bytes)
        os.kill(child._process.pid, signal.SIGSTOP)
        with pytest.raises(ChildDied) as died:
            await child.ask({}, seconds=0.1, bytes_max=100)
        assert died.value.late
        assert await child._process.wait() == -signal.SIGKILL


async def test_caller_who_goes_away_takes_the_running_query_along(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.start(SMALL)
        (child,) = analysis._idle
        asked = asyncio.create_task(analysis.query(CROSSED, SMALL))
        while child not in analysis._busy:
            await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await child._process.wait() == -signal.SIGKILL
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)


async def test_one_process_answers_many_queries_and_nothing_of_one_is_left_for_the_next(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        for _ in range(5):
            await analysis.query("WITH mine AS (SELECT 1 AS x) SELECT x FROM mine", SMALL)
        (child,) = analysis._idle
        assert child.questions == 5
        with pytest.raises(Invalid):
            await analysis.query("SELECT x FROM mine", SMALL)


async def test_queries_beyond_those_that_may_wait_are_told_to_come_later(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty()), at_once=1, waiting_max=1) as analysis:
        await analysis.start(SMALL)
        slow = [asyncio.create_task(analysis.query(CROSSED, SMALL._replace(seconds=1.0))) for _ in range(2)]
        while analysis._waiting < 1:
            await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await analysis.query(COUNT, SMALL)
        assert (refused.value.reason, refused.value.retry_after_s) == ("too_many_queries", 5)
        stopped = await asyncio.gather(*slow, return_exceptions=True)
    assert [type(one) for one in stopped] == [QueryStopped, QueryStopped]


async def test_close_ends_every_process(tmp_path):
    async with analysis_over(tmp_path, await means_with(twenty())) as analysis:
        await analysis.start(SMALL)
        (child,) = analysis._idle
    assert await child._process.wait() == -signal.SIGKILL
    assert not analysis._idle


async def test_process_that_cannot_open_its_database_is_unavailable(tmp_path):
    with pytest.raises(Unavailable):
        await Child.start(tmp_path / "nothing.duckdb", memory_bytes=SMALL.memory_bytes)


async def test_nothing_exported_yet_answers_with_empty_tables(tmp_path):
    async with analysis_over(tmp_path, await means_with()) as analysis:
        answer = await analysis.query(COUNT, SMALL)
    assert (answer.rows, answer.exported_to) == (((0,),), None)


async def test_later_exports_are_seen_after_a_refresh_by_the_same_process(tmp_path):
    means = await means_with(twenty())
    async with analysis_over(tmp_path, means, fresh_s=1000.0) as analysis:
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        more = await means_with([event(20, at=NOW + 1)])
        for key, content in more.blobs._blobs.items():
            await means.blobs.put(key, content)
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        await analysis.refresh()
        answer = await analysis.query(COUNT, SMALL)
        assert (answer.rows, answer.exported_to) == (((21,),), NOW + 1)
        (child,) = analysis._idle
        assert child.questions == 3


async def test_segment_that_is_broken_is_said_and_queries_go_on_with_what_was_there(tmp_path):
    means = await means_with(twenty())
    async with analysis_over(tmp_path, means, fresh_s=0.0) as analysis:
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        await means.blobs.put("desk/exports/events/2027-01-15/evt_9-evt_9-1-x.parquet", b"broken")
        assert (await analysis.query(COUNT, SMALL)).rows == ((20,),)
        with pytest.raises(Unavailable) as refused:
            await analysis.refresh()
        assert refused.value.reason == "exports_unreadable"


async def test_rows_that_are_merged_again_are_not_loaded_again(tmp_path):
    means = await means_with(twenty()[:10], twenty()[10:])
    await compact(means, "2027-01-15")
    async with analysis_over(tmp_path, means, fresh_s=1000.0) as analysis:
        await analysis.refresh()
        await export(means, [event(20)])
        await analysis.refresh()
        assert analysis._snapshots.latest.number == 2
        await compact(means, "2027-01-15")
        await analysis.refresh()
        assert analysis._snapshots.latest.number == 2
        assert (await analysis.query(COUNT, SMALL)).rows == ((21,),)


class OutOfReach(MemoryBlobs):
    gone = False

    async def list(self, prefix, *, after="", limit=1000):
        if self.gone:
            raise StoreUnavailable("no network")
        return await super().list(prefix, after=after, limit=limit)


async def test_exports_out_of_reach_leave_what_is_here_and_nothing_is_unavailable(tmp_path):
    means = await means_with(twenty())
    means = means._replace(blobs=OutOfReach())
    async with analysis_over(tmp_path, means, fresh_s=0.0) as analysis:
        await analysis.query(COUNT, SMALL)
        means.blobs.gone = True
        assert (await analysis.query(COUNT, SMALL)).rows == ((0,),)
        with pytest.raises(StoreUnavailable):
            await analysis.refresh()
    async with analysis_over(tmp_path / "other", means) as analysis:
        with pytest.raises(StoreUnavailable):
            await analysis.query(COUNT, SMALL)
