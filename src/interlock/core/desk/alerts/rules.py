"""Rules: which signals one is about, and what it does with them. The rule that is shown is the rule that is stored and acts.

A rule is about a signal if all its matchers fit; without matchers it is about every signal. Of each kind of action the
first rule in the list acts: one severity, one group, one reason to be silent, one threshold, one window.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from interlock.core.desk.alerts.model import LABEL_CHARACTERS_MAX, RECENT_MAX, AlertSeverity, Signal
from interlock.core.desk.alerts.reading import digest_of
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, SECOND, Millis, parse_rfc3339
from interlock.core.kernel.errors import Fault, Invalid

RULES_MAX = 100
MATCHERS_MAX = 8
GROUP_BY_MAX = 8
WEEK: Millis = 7 * DAY
WEEK_S = WEEK // SECOND
DAY_S = DAY // SECOND
WEEK_MIN = WEEK // MINUTE

Field = Annotated[
    str,
    Meta(
        pattern=r"^(?:name|source|severity|labels\.[^\x00-\x1f]{1,128})\Z",
        description="name, source, severity, or labels. and the name of a label.",
    ),
]
RuleId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}\Z")]
Instant = Annotated[datetime, Meta(tz=True)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class AlertMatcher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    field: Field
    op: Literal["=", "!=", "=~", "!~"]
    """=~ and !~ compare with a pattern in which * stands for any characters and ? for one; it is about the whole text."""
    value: Annotated[str, Meta(max_length=LABEL_CHARACTERS_MAX)]
    """A label that is not there is compared as an empty text."""


class GroupAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="group"):
    """Signals with the same values are one alert, which is resolved when the last of them is.

    A signal that has none of the fields is left alone. What is open stays in the alert it is in, whatever becomes of the rules.
    """

    by: Annotated[tuple[Field, ...], Meta(min_length=1, max_length=GROUP_BY_MAX)]


class DeduplicateAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="deduplicate"):
    """A repeat of what is open is counted and not told, unless the last one told is so long ago or it has become worse."""

    within_s: Annotated[int, Meta(ge=1, le=WEEK_S)]


class SilenceAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="silence"):
    """Nobody is told before `until`."""

    until: Instant


class MaintenanceAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="maintenance"):
    """Nobody is told from `starts_at` until before `ends_at`."""

    starts_at: Instant
    ends_at: Instant


class WeeklyMaintenanceAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="weekly_maintenance"):
    """Nobody is told for `lasts_min` from `starts`, on each of the days as they are at `utc_offset`.

    The offset is fixed: it does not follow summer time.
    """

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)]
    starts: Annotated[str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z", description="HH:MM")]
    lasts_min: Annotated[int, Meta(ge=1, le=WEEK_MIN)]
    utc_offset: Annotated[
        str,
        Meta(pattern=r"^[+-](?:0[0-9]|1[0-3]):[0-5][0-9]\Z|^[+-]14:00\Z", max_length=6, description="+HH:MM or -HH:MM"),
    ] = "+00:00"


class ThresholdAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="threshold"):
    """Held until it has fired `count` times within `within_s`. What is open already stays open."""

    count: Annotated[int, Meta(ge=2, le=RECENT_MAX)]
    within_s: Annotated[int, Meta(ge=1, le=DAY_S)]


class SetSeverityAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="set_severity"):
    """Comes before every other action: their matchers see the severity it sets."""

    severity: AlertSeverity


Quiet = SilenceAction | MaintenanceAction | WeeklyMaintenanceAction
Action = GroupAction | DeduplicateAction | Quiet | ThresholdAction | SetSeverityAction
A = TypeVar("A", GroupAction, DeduplicateAction, ThresholdAction, SetSeverityAction)


class AlertRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: RuleId
    action: Action
    matchers: Annotated[tuple[AlertMatcher, ...], Meta(max_length=MATCHERS_MAX)] = ()
    comment: Annotated[str, Meta(max_length=500)] = ""
    """Why it is there, for who finds it at night."""


def check_rules(rules: Sequence[AlertRule], *, pointer: str = "/rules") -> None:
    """What types cannot say. Raises Invalid naming each fault."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule.id in seen:
            faults.append(Fault(f"{pointer}/{place}/id", "repeated", "another rule has this id"))
        seen.add(rule.id)
        action = rule.action
        if isinstance(action, MaintenanceAction) and action.ends_at <= action.starts_at:
            faults.append(Fault(f"{pointer}/{place}/action/ends_at", "out_of_range", "it ends before it starts"))
        for number, matcher in enumerate(rule.matchers):
            if matcher.field == "severity" and matcher.op in ("=", "!=") and matcher.value not in list(AlertSeverity):
                where = f"{pointer}/{place}/matchers/{number}/value"
                faults.append(Fault(where, "not_allowed", f"a severity is one of {', '.join(AlertSeverity)}"))
    if faults:
        raise Invalid(faults=tuple(faults))


def fits(rule: AlertRule, signal: Signal) -> bool:
    return all(_matches(matcher, signal) for matcher in rule.matchers)


def first_of(kind: type[A], rules: Sequence[AlertRule], signal: Signal) -> tuple[AlertRule, A] | None:
    """The rule of that kind that acts on the signal."""
    for rule in rules:
        if isinstance(rule.action, kind) and fits(rule, signal):
            return rule, rule.action
    return None


def quiet_rule(rules: Sequence[AlertRule], signal: Signal, now: Millis) -> AlertRule | None:
    """The first rule for which nobody wants to know of the signal now."""
    for rule in rules:
        action = rule.action
        if (
            isinstance(action, SilenceAction | MaintenanceAction | WeeklyMaintenanceAction)
            and is_quiet(action, now)
            and fits(rule, signal)
        ):
            return rule
    return None


def is_quiet(action: Quiet, now: Millis) -> bool:
    if isinstance(action, SilenceAction):
        return now < instant(action.until)
    if isinstance(action, MaintenanceAction):
        return instant(action.starts_at) <= now < instant(action.ends_at)
    return any(since < action.lasts_min * MINUTE for since in _since_starts(action, now))


def quiet_until(action: Quiet, now: Millis) -> Millis:
    """The end of the time that is quiet now, as far as this action says."""
    if isinstance(action, SilenceAction):
        return instant(action.until)
    if isinstance(action, MaintenanceAction):
        return instant(action.ends_at)
    lasts = action.lasts_min * MINUTE
    return now + max(lasts - since for since in _since_starts(action, now) if since < lasts)


def group_key(rule: AlertRule, group: GroupAction, signal: Signal) -> str | None:
    """The key of the alert that signals with these values share, or None if it has none of the fields."""
    values = [value_of(field, signal) for field in group.by]
    if not any(values):
        return None
    return f"~group/{rule.id}/{digest_of(*group.by, *values)}"


def value_of(field: str, signal: Signal) -> str:
    if field == "name":
        return signal.name
    if field == "source":
        return signal.source
    if field == "severity":
        return signal.severity
    return signal.labels.get(field.removeprefix("labels."), "")


def glob(pattern: str, text: str) -> bool:
    """Whether `*` for any characters and `?` for one make the pattern the whole text.

    Takes at most pattern times text steps, whatever the pattern: a regular expression could take for ever.
    """
    at = star = 0
    place, resume = 0, -1
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume, at = at, place, at + 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif resume >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(c == "*" for c in pattern[at:])


def instant(moment: datetime) -> Millis:
    return parse_rfc3339(moment.isoformat())


def _matches(matcher: AlertMatcher, signal: Signal) -> bool:
    value = value_of(matcher.field, signal)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) is (matcher.op == "=")
    return glob(matcher.value, value) is (matcher.op == "=~")


def _since_starts(action: WeeklyMaintenanceAction, now: Millis) -> list[Millis]:
    """How long ago the maintenance began on each of its days, the last time."""
    local = now + _offset(action.utc_offset)
    into_week = (local + _THURSDAY) % WEEK
    hours, minutes = action.starts.split(":")
    start = int(hours) * HOUR + int(minutes) * MINUTE
    return [(into_week - WEEKDAYS.index(day) * DAY - start) % WEEK for day in action.days]


def _offset(text: str) -> Millis:
    found = _OFFSET.fullmatch(text)
    assert found is not None, "a rule's offset was checked when it came in"
    return (int(found[2]) * HOUR + int(found[3]) * MINUTE) * (-1 if found[1] == "-" else 1)


_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_THURSDAY: Millis = 3 * DAY
"""1970 began on a Thursday; weeks here begin on Mondays."""
