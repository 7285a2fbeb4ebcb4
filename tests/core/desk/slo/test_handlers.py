"""The file of objectives, the hours on record and the standing, over a store and attempts in memory."""

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.audit import PLATFORM, list_audit
from interlock.core.desk.slo.handlers import SETTLES, count_hour, count_hours, load_slos, put_slos, slo_file, standing
from interlock.core.desk.slo.model import Counts, Filter, Indicator, Measure, Ratio, ratio
from interlock.core.desk.slo.ports import Objectives
from interlock.core.desk.slo.records import PARTITION, decode_hour, hour_key, hours_partition
from interlock.core.desk.slo.verdicts import tally
from interlock.core.desk.slo.views import policy_step, policy_text, standing_view
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, utc_day
from interlock.core.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from interlock.core.kernel.providers import Outcome
from tests.clocks import ManualClock
from tests.core.desk.slo.objectives import AVAILABILITY, DOCUMENT, MONEY, seen, slo
from tests.telemetry import RecordingTelemetry

NOW = 1_800_000_000_000 - 1_800_000_000_000 % HOUR + 25 * MINUTE
"""Twenty-five minutes past the hour."""


class Attempts:
    """`Tallies` over attempts in memory. Remembers what it was asked."""

    def __init__(self):
        self.attempts = []
        self.asked = []
        self.wrong = None
        self.fails = False
        self.behind = 0
        """So far what counts is behind what happened."""

    async def latest(self):
        return NOW - self.behind

    def add(self, at, good=0, bad=0):
        self.attempts += [(at, seen())] * good + [(at, seen(Outcome.UNKNOWN))] * bad

    async def count(self, measure, filter, from_ms, to_ms):
        if self.fails:
            raise Unavailable("no figures now")
        self.asked.append((from_ms, to_ms))
        if self.wrong is not None:
            return self.wrong
        to_ms = min(to_ms, NOW - self.behind)
        return tally(Indicator(measure, filter), [one for at, one in self.attempts if from_ms <= at < to_ms])


@pytest.fixture
def d():
    clock = ManualClock(NOW)
    return Objectives(MemoryStore(clock), clock, SystemIds(clock), RecordingTelemetry(), Attempts())


async def everything(d, partition=PARTITION):
    return [(item.key.sort, item.version) for item in (await d.store.query(partition)).items]


# -- the file ----------------------------------------------------------------------------------------------------------


async def test_file_that_is_put_is_in_use_and_on_record(d):
    file = await put_slos(d, DOCUMENT, "ops_1")
    assert (file.text, file.version, file.put_by, file.put_at) == (DOCUMENT, 1, "ops_1", NOW)
    assert [one.name for one in await load_slos(d)] == ["answered"]
    assert await slo_file(d) == await slo_file(d, 1) == file
    (record,) = (await list_audit(d.store, tenant=PLATFORM, day=utc_day(NOW))).records
    assert (record.actor, record.action, dict(record.detail)) == ("ops_1", "slo_file.put", {"version": 1})
    assert d.telemetry.lines == [("info", "slo_file.put", {"version": 1})]


async def test_bad_file_is_refused_and_the_old_one_stays(d):
    await put_slos(d, DOCUMENT, "ops_1")
    before = await everything(d)
    with pytest.raises(Invalid) as refused:
        await put_slos(d, DOCUMENT.replace("0.995", "2").replace("28d", "1M"), "ops_2")
    assert [fault.code for fault in refused.value.faults] == ["bad_window", "target_out_of_range"]
    assert (await slo_file(d)).put_by == "ops_1"
    assert (await everything(d), len((await list_audit(d.store, tenant=PLATFORM, day=utc_day(NOW))).records)) == (
        before,
        1,
    )


async def test_same_file_again_changes_nothing(d):
    first = await put_slos(d, DOCUMENT, "ops_1")
    assert await put_slos(d, DOCUMENT, "ops_2") == first
    assert await everything(d) == [("file", 1)]


async def test_earlier_versions_stay_readable(d):
    await put_slos(d, DOCUMENT, "ops_1")
    await put_slos(d, DOCUMENT.replace("0.995", "0.99"), "ops_2", expected=1)
    assert ((await slo_file(d)).version, (await load_slos(d))[0].target) == (2, Ratio(99, 100))
    assert ((await slo_file(d, 1)).text, (await slo_file(d, 2)).put_by) == (DOCUMENT, "ops_2")
    with pytest.raises(NotFound):
        await slo_file(d, 3)


async def test_change_made_from_an_older_version_is_refused(d):
    await put_slos(d, DOCUMENT, "ops_1", expected=0)
    with pytest.raises(Conflict) as refused:
        await put_slos(d, DOCUMENT.replace("0.995", "0.99"), "ops_2", expected=0)
    assert (refused.value.reason, (await slo_file(d)).version) == ("slo_file_changed", 1)


async def test_file_too_large_for_the_store_is_refused_and_nothing_is_written(d):
    with pytest.raises(Invalid) as refused:
        await put_slos(d, DOCUMENT + "# " + "x" * 400_000, "ops_1")
    assert [fault.code for fault in refused.value.faults] == ["too_large"]
    assert await everything(d) == []


async def test_nobody_puts_a_file_and_without_one_there_are_no_objectives(d):
    with pytest.raises(Invalid):
        await put_slos(d, DOCUMENT, "")
    assert await load_slos(d) == ()
    with pytest.raises(NotFound):
        await slo_file(d)


# -- hours -------------------------------------------------------------------------------------------------------------

THIS_HOUR = NOW - NOW % HOUR
SETTLED = THIS_HOUR - SETTLES - HOUR
"""Start of the latest hour that has settled."""


async def hours(d, one):
    page = await d.store.query(hours_partition(one.name, one.indicator), limit=1_000)
    return {decode_hour(item).hour: (decode_hour(item).counts, item.version) for item in page.items}


async def test_hours_are_not_on_record_before_the_rows_have_caught_up(d):
    one = slo(days=3)
    d.tallies.add(SETTLED + 5, good=7, bad=1)
    d.tallies.behind = 5 * HOUR
    await count_hours(d, one, hours_max=1_000)
    assert max(await hours(d, one)) == SETTLED - 5 * HOUR
    d.tallies.behind = 0
    assert await count_hours(d, one, hours_max=1_000) == 5
    assert (await hours(d, one))[SETTLED] == (Counts(7, 8), 1)


async def test_settled_hours_are_counted_newest_first_and_once(d):
    one = slo(days=3)
    d.tallies.add(SETTLED + 5, good=7, bad=1)
    d.tallies.add(THIS_HOUR - MINUTE, good=9)
    assert [await count_hours(d, one, hours_max=40) for _ in range(3)] == [40, 29, 0]
    found = await hours(d, one)
    assert (max(found), min(found), len(found)) == (SETTLED, NOW - 3 * DAY + 35 * MINUTE, 69)
    assert found[SETTLED] == (Counts(7, 8), 1)
    assert {counts for hour, counts in found.items() if hour != SETTLED} == {(Counts(0, 0), 1)}


async def test_hour_counted_again_is_written_only_if_it_changed(d):
    one = slo()
    d.tallies.add(SETTLED, good=1)
    assert [await count_hour(d, one, SETTLED), await count_hour(d, one, SETTLED)] == [True, False]
    d.tallies.add(SETTLED, bad=1)
    assert await count_hour(d, one, SETTLED) is True
    assert await hours(d, one) == {SETTLED: (Counts(1, 2), 2)}


@pytest.mark.parametrize("hour", [THIS_HOUR, THIS_HOUR - HOUR, SETTLED + HOUR, SETTLED + 1])
async def test_hour_that_has_not_settled_is_not_put_on_record(d, hour):
    with pytest.raises(Invalid):
        await count_hour(d, slo(), hour)
    assert await hours(d, slo()) == {}


async def test_changed_measurement_takes_no_hours_of_the_old_one(d):
    old, new = slo(), slo(indicator=Indicator(Measure.AVAILABILITY, Filter(provider="none")))
    d.tallies.add(SETTLED, bad=50)
    await count_hour(d, old, SETTLED)
    assert hour_key("answered", old.indicator, SETTLED) != hour_key("answered", new.indicator, SETTLED)
    assert (await standing(d, old)).budget.spent == 50
    assert (await standing(d, new)).budget.spent == 0


async def test_hours_expire_after_the_longest_window(d):
    await count_hour(d, slo(), SETTLED)
    item = await d.store.get(hour_key("answered", AVAILABILITY, SETTLED))
    assert item.expires_at == SETTLED + 100 * DAY


# -- the standing ------------------------------------------------------------------------------------------------------


async def test_new_objective_stands_at_its_whole_budget(d):
    stands = await standing(d, slo())
    assert (stands.budget.left_share, stands.firing, stands.findings, stands.at) == (Ratio(1, 1), (), (), NOW)
    assert {name: burn.rate for name, burn in stands.burns.items()} == dict.fromkeys(
        ("5m", "30m", "1h", "2h", "6h", "1d", "3d"), Ratio(0, 1)
    )


async def with_history(d):
    """28 days of ten attempts at each full and half hour, a bad hour a day ago and an outage that began six minutes ago."""
    for at in range(NOW - 29 * DAY, NOW, 30 * MINUTE):
        d.tallies.add(at, good=10)
    d.tallies.add(THIS_HOUR - 20 * HOUR, bad=4)
    for minute in range(1, 7):
        d.tallies.add(NOW - minute * MINUTE, bad=2)


async def test_standing_has_budget_burns_alerts_and_burn_down(d):
    await with_history(d)
    stands = await standing(d, slo())
    assert {name: burn.counts for name, burn in stands.burns.items()} == {
        "5m": Counts(0, 10),
        "30m": Counts(10, 22),
        "1h": Counts(20, 32),
        "2h": Counts(40, 52),
        "6h": Counts(120, 132),
        "1d": Counts(480, 496),
        "3d": Counts(1_440, 1_456),
    }
    assert (stands.budget.counts, stands.budget.spent) == (Counts(13_440, 13_456), 16)
    assert stands.burns["1h"].rate == Ratio(75, 1)
    assert [one.rule for one in stands.firing] == ["page-fast", "page-slow", "ticket-fast", "ticket-slow"]
    assert stands.points[-1].left_share == stands.budget.left_share
    assert stands.budget.left_share == ratio(13_456 - 16 * 200, 13_456)


async def test_standing_is_the_same_with_hours_on_record_and_asks_for_less(d):
    await with_history(d)
    without = await standing(d, slo())
    while await count_hours(d, slo(), hours_max=200):
        pass
    d.tallies.asked.clear()
    stands = await standing(d, slo())
    assert (stands.budget, stands.burns, stands.firing) == (without.budget, without.burns, without.firing)
    assert stands.points[-1].left_share == without.points[-1].left_share
    assert (len(stands.points), stands.points[0].at) == (28 * 24 + 1, NOW - 28 * DAY)
    # The first part of an hour of 28d, 6h, 1d and 3d; the last two hours and this one, once for all; four short windows.
    assert len(d.tallies.asked) == len(set(d.tallies.asked)) == 11
    assert max(upto - start for start, upto in d.tallies.asked) == 2 * HOUR


async def test_hours_on_record_in_part_leave_no_gap(d):
    await with_history(d)
    without = await standing(d, slo())
    for hour in (SETTLED, SETTLED - 30 * HOUR, SETTLED - 31 * HOUR, SETTLED - 500 * HOUR):
        await count_hour(d, slo(), hour)
    stands = await standing(d, slo())
    assert (stands.budget, stands.burns, stands.firing) == (without.budget, without.burns, without.firing)


async def test_window_of_a_quarter_reads_every_hour_on_record(d):
    long = slo(days=92)
    for at in range(NOW - 93 * DAY, NOW, 12 * HOUR):
        d.tallies.add(at, good=3)
    while await count_hours(d, long, hours_max=1_000):
        pass
    d.tallies.asked.clear()
    stands = await standing(d, long)
    assert stands.budget.counts == Counts(3 * 184, 3 * 184)
    assert len(stands.points) == 92 * 24 + 1


async def test_wrong_measurement_is_told_and_not_hidden(d):
    d.tallies.wrong = Counts(11, 10)
    stands = await standing(d, slo())
    assert [finding.code for finding in stands.findings][:1] == ["more_good_than_total"]
    assert stands.firing == ()


async def test_wrong_measurement_of_five_minutes_alone_is_told(d):
    count = d.tallies.count

    async def wrong_lately(measure, filter, from_ms, to_ms):
        return Counts(3, 2) if to_ms - from_ms == 5 * MINUTE else await count(measure, filter, from_ms, to_ms)

    d.tallies.count = wrong_lately
    stands = await standing(d, slo())
    assert [finding.code for finding in stands.findings] == ["more_good_than_total"]


async def test_target_out_of_reach_of_a_rule_is_told(d):
    stands = await standing(d, slo(target=ratio(9, 10)))
    assert [finding.code for finding in stands.findings] == ["burn_out_of_reach"]


async def test_figures_that_cannot_be_had_are_not_made_up(d):
    d.tallies.fails = True
    with pytest.raises(Unavailable):
        await standing(d, slo())


async def test_money_stands_in_minor_units_of_its_currency(d):
    d.tallies.add(NOW - MINUTE, good=40, bad=10)
    view = standing_view(await standing(d, slo(indicator=MONEY)))
    assert (view.unit, view.good, view.total, view.bad) == ("minor units of EUR", 79_960, 99_950, 19_990)
    assert view.firing[0].why.startswith("10 of 50 attempts in 1h were bad;")


# -- what is shown -----------------------------------------------------------------------------------------------------


async def test_view_has_figures_as_text_that_was_rounded_last(d):
    await with_history(d)
    view = standing_view(await standing(d, slo(display_name="Answered")))
    assert (view.slo, view.title, view.measure, view.unit) == ("answered", "Answered", "availability", "attempts")
    assert (view.target, view.reached, view.left_percent, view.step) == ("99.5 %", "99.8811 %", "76.22 %", "free")
    (hour,) = [burn for burn in view.burns if burn.window == "1h"]
    assert (hour.rate, hour.good, hour.total) == ("75.00", 20, 32)
    assert hour.spent_after_s == 28 * 86_400 * (13_456 - 3_200) // (13_456 * 75)
    assert view.burn_down[-1][1] == "76.22 %"
    assert view.firing[0].windows == ("5m", "1h")


@pytest.mark.parametrize(
    ("left", "step"),
    [
        (Ratio(1, 1), "free"),
        (Ratio(51, 100), "free"),
        (Ratio(1, 2), "careful"),
        (Ratio(1, 4), "slow"),
        (Ratio(1, 100), "slow"),
        (Ratio(0, 1), "spent"),
        (Ratio(-5, 1), "spent"),
    ],
)
def test_policy_has_a_step_for_each_share_left(left, step):
    assert policy_step(left).name == step


def test_policy_in_words_says_target_steps_and_alerts():
    text = policy_text(slo(target=ratio(9, 10), display_name="a|b"))
    assert text.startswith(
        "# Error-budget policy: a\\|b\n\nTarget: 90 % of attempts good over the last 28 days, so 10 % may be bad.\n"
    )
    assert (
        "| nothing | spent | Only repairs, security fixes and what the law asks for, until something is left again. |"
        in text
    )
    assert "| page | 6.0 times the budget's pace | 30m, 6h | 30 attempts, 5 of them bad |" in text
    assert "14.4" not in text
