"""The rules as Prometheus takes them, and what they do with stories told minute by minute."""

import random

import pytest
import yaml

from interlock.core.desk.slo.budgets import alerts
from interlock.core.desk.slo.model import ratio
from interlock.core.desk.slo.prometheus import prometheus_rules
from interlock.core.kernel.errors import Invalid
from tests.core.desk.slo.objectives import LATENCY, MONEY, slo
from tests.core.desk.slo.stories import BASE, Traffic, minutes, miscounted, run, sounding, told_to_prometheus

PAGE, TICKET = ("SloBurnPage", "page"), ("SloBurnTicket", "ticket")


def rules_of(slos):
    return [rule for group in yaml.safe_load(prometheus_rules(slos, BASE))["groups"] for rule in group["rules"]]


def fires(minute, *kinds, name="answered"):
    return sounding(minute, [(alert, name, severity) for alert, severity in kinds])


def told(tmp_path, traffic, expectations, one=None, more=()):
    one = one or slo()
    quiet = miscounted(one, f"0x{len(traffic.good)}")
    status, said = told_to_prometheus(tmp_path, [one], [*traffic.series(one), quiet, *more], expectations)
    assert status == 0, said


# -- the file ----------------------------------------------------------------------------------------------------------

NASTY = 'a "quoted" {{ $labels.x }} {{{ title: é #\n'


def test_promtool_takes_the_rules(tmp_path):
    slos = [
        slo(),
        slo("fast", LATENCY, ratio(95, 100)),
        slo("money", MONEY, ratio(999, 1000)),
        slo("loose", target=ratio(1, 2)),
        slo("fine", target=ratio(999_999, 1_000_000)),
        slo("titled", display_name=NASTY, description=NASTY),
        slo("silent", rules=(), tells_absence=False),
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(prometheus_rules(slos, BASE))
    status, said = run("check", "rules", str(path))
    assert status == 0, said
    assert f"{len(rules_of(slos))} rules found" in said
    assert "duplicate" not in said


def test_alerts_have_their_severity_and_lead_to_the_runbook():
    made = [rule for rule in rules_of([slo(display_name="Answered")]) if "alert" in rule]
    assert [(rule["alert"], rule["labels"]["severity"], rule.get("for", "")) for rule in made] == [
        ("SloBurnPage", "page", ""),
        ("SloBurnTicket", "ticket", ""),
        ("SloNotMeasured", "ticket", "10m"),
        ("SloMiscounted", "ticket", ""),
    ]
    pages = ("slo-burn-page", "slo-burn-ticket", "slo-not-measured", "slo-miscounted")
    assert [rule["annotations"]["runbook_url"] for rule in made] == [f"{BASE}/operations/{page}" for page in pages]
    assert [rule["labels"] | {"severity": ""} for rule in made] == [
        {"severity": "", "slo": "answered", "service": "payments"}
    ] * 4
    assert made[0]["annotations"]["summary"] == "Answered: the error budget burns fast"
    assert made[0]["annotations"]["description"] == (
        "{{ $value | humanizePercentage }} is bad now; the target of 28 days is 99.5 % good. Alerts above a share of bad of "
        "0.072 over 5m and 1h (14.4 times the budget's pace, of at least 30 attempts with 5 bad); "
        "0.03 over 30m and 6h (6.0 times the budget's pace, of at least 30 attempts with 5 bad)."
    )


def test_recordings_cover_every_window_under_one_name_each():
    recorded = [rule for rule in rules_of([slo()]) if "record" in rule]
    names = [rule["record"] for rule in recorded]
    assert names[:8] == [
        "interlock:slo_target:ratio",
        *(f"interlock:slo_errors:ratio{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")),
    ]
    assert (len(names), len(set(names))) == (16, 16)
    assert recorded[0]["expr"] == "vector(0.995)"
    assert {tuple(rule["labels"].items()) for rule in recorded} == {(("slo", "answered"), ("service", "payments"))}


def test_rule_out_of_reach_or_out_of_the_policy_is_not_written():
    loose = {rule.get("alert"): rule for rule in rules_of([slo(target=ratio(9, 10))])}
    assert ("> 1.44" in loose["SloBurnPage"]["expr"], "> 0.6 " in loose["SloBurnPage"]["expr"]) == (False, True)
    chosen = [rule.get("alert") for rule in rules_of([slo(rules=("ticket-slow",), tells_absence=False)])]
    assert [name for name in chosen if name] == ["SloBurnTicket", "SloMiscounted"]


def test_the_file_has_no_aliases_and_is_the_same_every_time():
    text = prometheus_rules([slo()], BASE)
    assert ("&id" in text, text) == (False, prometheus_rules([slo()], BASE + "/"))
    assert prometheus_rules([], BASE).endswith("groups: []\n")


@pytest.mark.parametrize("base", ["", "docs", "javascript:x", "https://a b"])
def test_base_that_is_no_address_is_refused(base):
    with pytest.raises(Invalid):
        prometheus_rules([slo()], base)


def test_two_objectives_of_one_name_are_refused():
    with pytest.raises(Invalid):
        prometheus_rules([slo(), slo()], BASE)


# -- stories -----------------------------------------------------------------------------------------------------------


def test_outage_after_six_good_hours_pages_in_its_fifth_minute_and_resolves_when_it_is_over(tmp_path):
    # 7.2 % of an hour is 4.32 minutes: after four minutes 6.7 % of the hour is bad, after five 8.3 %.
    traffic = Traffic(minutes((360, 100, 0), (15, 0, 100), (60, 100, 0)))
    story = [
        *(fires(minute) for minute in (0, 60, 360, 361)),
        # Half a percent of the six hours since the beginning is 1.8 minutes.
        *(fires(minute, TICKET) for minute in (362, 363, 364)),
        *(fires(minute, PAGE, TICKET) for minute in (365, 370, 375, 380, 404)),
        # After half an hour the short window of the slow pair has forgotten; that of the ticket remembers for hours.
        *(fires(minute, TICKET) for minute in (405, 435)),
    ]
    told(tmp_path, traffic, story)


def test_fast_pair_resolves_five_minutes_after_the_outage(tmp_path):
    traffic = Traffic(minutes((360, 100, 0), (15, 0, 100), (10, 100, 0)))
    story = [fires(364), fires(365, PAGE), fires(375, PAGE), fires(379, PAGE), fires(380)]
    told(tmp_path, traffic, story, slo(rules=("page-fast",)))


def test_outage_on_an_objective_an_hour_old_pages_in_its_second_minute(tmp_path):
    # Its six hours hold one so far, and 3 % of that is 1.8 minutes: young objectives are told early, never late.
    traffic = Traffic(minutes((60, 100, 0), (5, 0, 100)))
    told(tmp_path, traffic, [fires(60), fires(61, TICKET), fires(62, PAGE, TICKET), fires(65, PAGE, TICKET)])


def test_outage_of_everything_from_the_start_pages_once_thirty_attempts_were_seen(tmp_path):
    traffic = Traffic(minutes((20, 0, 10)))
    told(tmp_path, traffic, [fires(2), fires(3, PAGE, TICKET), fires(20, PAGE, TICKET)])


def test_errors_at_exactly_the_threshold_do_not_page_and_one_more_does(tmp_path):
    exactly = Traffic(minutes((400, 928, 72)))
    fast_alone = slo(rules=("page-fast",))
    told(tmp_path, exactly, [fires(minute) for minute in (7, 59, 60, 61, 200, 400)], fast_alone)
    above = Traffic(minutes((400, 9_279, 721)))
    told(tmp_path, above, [fires(minute, PAGE) for minute in (7, 60, 61, 200, 400)], fast_alone)


@pytest.mark.parametrize("target", [ratio(995, 1000), ratio(999, 1000), ratio(95, 100), ratio(9_999, 10_000)])
def test_errors_at_exactly_the_budget_are_silent_whatever_the_target(tmp_path, target):
    one = slo(target=target)
    spare = target.less_than_one_by()
    traffic = Traffic(minutes((400, 7 * target.over, 7 * spare.over)))
    told(tmp_path, traffic, [fires(minute) for minute in (31, 60, 365, 400)], one)


@pytest.mark.parametrize("interval", ["13s", "17s", "29s"])
def test_threshold_holds_where_increases_are_estimates_between_scrapes(tmp_path, interval):
    # Estimates are no whole numbers: without rounding, the last bit of a share decides.
    traffic = Traffic(minutes((400, 928, 72)))
    one = slo(rules=("page-fast",))
    story = [fires(minute) for minute in range(7, 80)]
    status, said = told_to_prometheus(tmp_path, [one], traffic.series(one), story, interval)
    assert status == 0, said


def test_four_bad_attempts_of_forty_wake_nobody_and_five_do(tmp_path):
    one = slo(rules=("page-fast",))
    told(tmp_path, Traffic([*minutes((10, 0, 0)), (36, 4), *minutes((9, 0, 0))]), [fires(11), fires(15)], one)
    told(
        tmp_path, Traffic([*minutes((10, 0, 0)), (35, 5), *minutes((9, 0, 0))]), [fires(11, PAGE), fires(15, PAGE)], one
    )


def test_slow_burn_opens_a_ticket_and_wakes_nobody(tmp_path):
    # Twice the budget's pace: above 1 over six hours and three days, below 3 and everything else.
    traffic = Traffic(minutes((500, 990, 10)))
    told(tmp_path, traffic, [fires(1, TICKET), *(fires(minute, TICKET) for minute in (60, 361, 500))])


def test_burn_of_four_over_a_day_opens_the_fast_ticket_and_no_page(tmp_path):
    traffic = Traffic(minutes((500, 980, 20)))
    told(tmp_path, traffic, [fires(500, TICKET)], slo(rules=("page-fast", "page-slow", "ticket-fast")))


def test_one_error_in_three_requests_wakes_nobody(tmp_path):
    traffic = Traffic([*minutes((10, 0, 0)), (2, 1), *minutes((400, 0, 0))])
    told(tmp_path, traffic, [fires(minute) for minute in (10, 11, 12, 15, 60, 70, 371, 411)])


def test_three_requests_an_hour_with_one_error_each_never_page(tmp_path):
    traffic = Traffic([(2, 1), *minutes((59, 0, 0))] * 9)
    told(
        tmp_path,
        traffic,
        [fires(minute) for minute in (1, 61, 121, 301, 360, 421)],
        slo(rules=("page-fast", "page-slow")),
    )


def test_new_objective_without_traffic_is_quiet(tmp_path):
    traffic = Traffic(minutes((60, 0, 0)))
    told(tmp_path, traffic, [sounding(minute, [], ".*") for minute in (0, 1, 11, 30, 60)])


def test_objective_that_nobody_measures_is_told_after_ten_minutes(tmp_path):
    story = [
        sounding(9, [], ".*"),
        sounding(10, [("SloNotMeasured", "answered", "ticket")], ".*"),
        sounding(30, [("SloNotMeasured", "answered", "ticket")], ".*"),
    ]
    status, said = told_to_prometheus(tmp_path, [slo()], [], story)
    assert status == 0, said


def test_more_good_than_total_is_told_and_for_an_hour(tmp_path):
    traffic = Traffic(minutes((100, 10, 0)))
    one = slo()
    story = [
        sounding(10, [], ".*"),
        sounding(11, [("SloMiscounted", "answered", "ticket")], ".*"),
        sounding(70, [("SloMiscounted", "answered", "ticket")], ".*"),
        sounding(71, [], ".*"),
    ]
    status, said = told_to_prometheus(tmp_path, [one], [*traffic.series(one), miscounted(one, "0x10 3x90")], story)
    assert status == 0, said


def test_large_amounts_of_few_attempts_wake_nobody_and_of_many_do(tmp_path):
    one = slo(indicator=MONEY)
    few = Traffic(minutes((60, 0, 0), (4, 0, 1), (60, 0, 0)), amount=5_000_000)
    told(tmp_path, few, [fires(minute) for minute in (61, 64, 70, 124)], one)
    many = Traffic(minutes((60, 0, 0), (10, 0, 10)), amount=5_000_000)
    told(tmp_path, many, [fires(62), fires(63, PAGE, TICKET), fires(70, PAGE, TICKET)], one)


def test_counter_that_starts_anew_is_no_outage(tmp_path):
    one = slo()
    good, bad = (f'interlock_slo_events_total{{slo="answered",good="{good}"}}' for good in ("true", "false"))
    series = [{"series": good, "values": "0+100x60 0+100x60"}, {"series": bad, "values": "0+0x60 0+0x60"}]
    status, said = told_to_prometheus(tmp_path, [one], series, [fires(60), fires(62), fires(100)])
    assert status == 0, said


def test_story_that_does_not_happen_is_noticed(tmp_path):
    traffic = Traffic(minutes((20, 0, 10)))
    status, said = told_to_prometheus(tmp_path, [slo()], traffic.series(slo()), [fires(20)])
    assert (status, "SloBurnPage" in said) == (1, True)


# -- both say the same -------------------------------------------------------------------------------------------------


def invented(seed, length):
    """Stretches of good hours, outages, slow burns and hardly any traffic."""
    dice = random.Random(seed)
    made = []
    while len(made) < length:
        busy = dice.choice((0, 1, 3, 40, 500))
        share = dice.choice((0, 0, 0, 2, 8, 20, 45, 72, 73, 300, 1_000))
        for _ in range(dice.choice((3, 11, 45, 170))):
            bad = sum(dice.random() * 1_000 < share for _ in range(busy))
            made.append((busy - bad, bad))
    return made[:length]


@pytest.mark.parametrize("seed", [1, 2])
def test_alerts_and_prometheus_agree_on_invented_traffic(tmp_path, seed):
    targets = (ratio(995, 1000), ratio(999, 1000), ratio(95, 100), ratio(9, 10))
    slos = [slo(f"s{place}", target=target) for place, target in enumerate(targets)]
    slos.append(slo("s4", MONEY))
    traffics = {
        one.name: Traffic(invented(f"{seed} {one.name}", 480), amount=1 + 98 * (one.name == "s4")) for one in slos
    }
    told, kinds = [], set()
    for minute in range(0, 481, 5):
        expected = []
        for one in slos:
            severities = {firing.severity.value for firing in alerts(traffics[one.name].windows(minute), one)}
            expected += [(alert, one.name, severity) for alert, severity in (PAGE, TICKET) if severity in severities]
            kinds.add(tuple(sorted(severities)))
        told.append(sounding(minute, expected))
    assert kinds >= {(), ("ticket",), ("page", "ticket")}, "the traffic is worth comparing"
    series = [entry for one in slos for entry in traffics[one.name].series(one)]
    status, said = told_to_prometheus(tmp_path, slos, series, told)
    assert status == 0, said
