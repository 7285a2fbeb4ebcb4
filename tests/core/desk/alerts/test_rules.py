"""Rules: patterns, windows of time, groups, and what is wrong with a rule."""

import fnmatch
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.alerts.model import AlertSeverity
from interlock.core.desk.alerts.rules import (
    AlertMatcher,
    AlertRule,
    GroupAction,
    MaintenanceAction,
    SilenceAction,
    WeeklyMaintenanceAction,
    check_rules,
    fits,
    glob,
    group_key,
    instant,
    is_quiet,
)
from interlock.core.kernel.errors import Invalid
from tests.core.desk.alerts.world import signal

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(hours: float, *, day: int = 0) -> int:
    return instant(MONDAY + timedelta(days=day, hours=hours))


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=12))
def test_pattern_matches_what_a_shell_would_match(pattern, text):
    assert glob(pattern, text) is (re.match(fnmatch.translate(pattern), text) is not None)


def test_pattern_made_to_take_long_does_not():
    assert glob("*a" * 250 + "b", "a" * 512) is False


@pytest.mark.parametrize(
    ("field", "op", "value", "fit"),
    [
        ("name", "=", "PaymentErrors", True),
        ("name", "=~", "Payment*", True),
        ("name", "=~", "Payment", False),
        ("name", "!~", "Ledger*", True),
        ("source", "!=", "prom", False),
        ("severity", "=", "error", True),
        ("labels.provider", "=~", "ac?e", True),
        ("labels.missing", "=", "", True),
        ("labels.missing", "!=", "", False),
        ("labels.missing", "=~", "*", True),
    ],
)
def test_matcher_compares_the_whole_text(field, op, value, fit):
    rule = AlertRule("r", SilenceAction(MONDAY), (AlertMatcher(field, op, value),))
    assert fits(rule, signal(provider="acme")) is fit


def test_rule_fits_when_all_its_matchers_do_and_always_without_any():
    one, other = AlertMatcher("name", "=~", "*"), AlertMatcher("source", "=", "else")
    assert fits(AlertRule("r", SilenceAction(MONDAY), (one, other)), signal()) is False
    assert fits(AlertRule("r", SilenceAction(MONDAY)), signal()) is True


def test_silence_ends_at_its_moment():
    silence = SilenceAction(MONDAY)
    assert is_quiet(silence, at(0) - 1) is True
    assert is_quiet(silence, at(0)) is False


def test_maintenance_is_from_its_beginning_until_before_its_end():
    window = MaintenanceAction(MONDAY, MONDAY + timedelta(hours=2))
    assert [is_quiet(window, at(0) - 1), is_quiet(window, at(0)), is_quiet(window, at(2) - 1), is_quiet(window, at(2))] == [
        False, True, True, False,
    ]  # fmt: skip


def test_weekly_window_over_midnight_and_over_the_end_of_the_week_is_one_window():
    window = WeeklyMaintenanceAction(("sun",), "23:00", 120)
    assert [is_quiet(window, at(hour, day=day)) for day, hour in ((6, 22.99), (6, 23), (7, 0.5), (7, 1), (0, 0.5))] == [
        False, True, True, False, True,
    ]  # fmt: skip


def test_weekly_window_is_at_the_time_of_its_offset():
    window = WeeklyMaintenanceAction(("mon",), "00:00", 60, "+02:00")
    assert is_quiet(window, at(-2)) is True
    assert is_quiet(window, at(-1)) is False
    assert is_quiet(WeeklyMaintenanceAction(("sun",), "22:00", 60, "-03:30"), at(1.5)) is True


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
    st.integers(-14 * 60 + 1, 14 * 60),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(1, 1_440),
)
def test_weekly_window_agrees_with_the_calendar(moment, offset_min, hour, minute, lasts):
    zone = timezone(timedelta(minutes=offset_min))
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    sign = "-" if offset_min < 0 else "+"
    text = f"{sign}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"
    window = WeeklyMaintenanceAction(("tue",), f"{hour:02}:{minute:02}", lasts, text)
    local = moment.astimezone(zone)
    begin = local.replace(hour=hour, minute=minute, second=0)
    begin -= timedelta(days=(begin.weekday() - 1) % 7)
    if begin > local:
        begin -= timedelta(days=7)
    assert is_quiet(window, instant(moment)) is (local < begin + timedelta(minutes=lasts))


def test_group_of_signals_is_by_values_and_by_rule():
    group = GroupAction(("name", "labels.provider"))
    rule = AlertRule("by-provider", group)
    first = group_key(rule, group, signal("f1", provider="acme"))
    assert first == group_key(rule, group, signal("f2", provider="acme", merchant="m_1"))
    assert first != group_key(rule, group, signal("f3", provider="zed"))
    assert first != group_key(AlertRule("other", group), group, signal("f1", provider="acme"))


def test_signal_that_has_none_of_the_fields_is_not_grouped():
    group = GroupAction(("labels.provider",))
    assert group_key(AlertRule("r", group), group, signal(merchant="m_1")) is None


def test_faults_of_rules_are_all_named():
    rules = (
        AlertRule("a", MaintenanceAction(MONDAY, MONDAY)),
        AlertRule("a", SilenceAction(MONDAY), (AlertMatcher("severity", "=", "awful"),)),
    )
    with pytest.raises(Invalid) as caught:
        check_rules(rules)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        ("/rules/0/action/ends_at", "out_of_range"),
        ("/rules/1/id", "repeated"),
        ("/rules/1/matchers/0/value", "not_allowed"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"id": "r", "action": {"type": "silence", "until": "2026-11-23T00:00:00"}},
        {"id": "r", "action": {"type": "threshold", "count": 1, "within_s": 60}},
        {"id": "r", "action": {"type": "threshold", "count": 3, "within_s": 86_401}},
        {"id": "r", "action": {"type": "group", "by": []}},
        {"id": "r", "action": {"type": "group", "by": ["provider"]}},
        {"id": "r", "action": {"type": "weekly_maintenance", "days": ["mon"], "starts": "24:00", "lasts_min": 1}},
        {"id": "r", "action": {"type": "delete"}},
        {"id": "R", "action": {"type": "silence", "until": "2026-11-23T00:00:00Z"}},
        {"id": "r", "action": {"type": "silence", "until": "2026-11-23T00:00:00Z"}, "colour": 1},
    ],
)
def test_rule_of_a_wrong_form_is_no_rule(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, AlertRule)


def test_rule_survives_the_way_through_json():
    action = WeeklyMaintenanceAction(("mon", "sun"), "22:00", 90, "+01:00")
    rule = AlertRule("r", action, (AlertMatcher("severity", "=", AlertSeverity.INFO),), "why")
    assert msgspec.json.decode(msgspec.json.encode(rule), type=AlertRule) == rule
