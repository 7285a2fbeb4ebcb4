"""Objectives, what is measured for them, and the table of burn alerts. All arithmetic is exact: integers and fractions of them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from math import gcd
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from interlock.core.kernel.clock import DAY, HOUR, MINUTE, Millis
from interlock.core.kernel.errors import Fault, Invalid


class Ratio(msgspec.Struct, frozen=True):
    """`over / under`, exact and in lowest terms; `under` is above zero. Made by `ratio`.

    A fraction has no order of its own here: two that are compared as pairs of numbers would give nonsense unnoticed.
    """

    over: int
    under: int

    def is_above(self, other: Ratio) -> bool:
        return self.over * other.under > other.over * self.under

    def decimal(self, places: int) -> str:
        """For people: rounded half away from zero, always with `places` digits."""
        scaled, rest = divmod(abs(self.over) * 10**places, self.under)
        scaled += 2 * rest >= self.under
        text = f"{scaled:0{places + 1}d}"
        sign = "-" if self.over < 0 and scaled else ""
        return f"{sign}{text[:-places]}.{text[-places:]}" if places else f"{sign}{text}"

    def percent(self, places: int = 2) -> str:
        """For people, with the sign: 99.50 %."""
        return f"{Ratio(self.over * 100, self.under).decimal(places)} %"

    def exact(self) -> str:
        """As short as it can be written, up to nine places: 0.995."""
        return self.decimal(9).rstrip("0").rstrip(".")

    def exact_percent(self) -> str:
        """99.5 %."""
        return f"{ratio(self.over * 100, self.under).exact()} %"

    def less_than_one_by(self) -> Ratio:
        return ratio(self.under - self.over, self.under)


def ratio(over: int, under: int) -> Ratio:
    """Raises ZeroDivisionError for `under` zero."""
    if under == 0:
        raise ZeroDivisionError("a ratio under zero")
    shared = gcd(over, under) * (-1 if under < 0 else 1)
    return Ratio(over // shared, under // shared)


NOTHING, WHOLE = Ratio(0, 1), Ratio(1, 1)


class Finding(msgspec.Struct, frozen=True):
    """What whoever reads a figure must know about it. `code` is stable; `detail` is for people."""

    code: str
    detail: str


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured in some stretch of time. Raises Invalid for what is negative or not whole.

    More good than total is a fault of whoever measured. It is kept, shown as a finding and never lends its surplus to other
    stretches: a sum takes each part as all good, and carries the surplus along.
    """

    good: int
    total: int
    """Attempts; for money, minor units of one currency."""
    events: int | None = None
    """For money: the attempts behind the amount. None: `total` counts attempts itself."""
    events_bad: int | None = None
    """For money: how many of those attempts were bad."""
    surplus: int = 0
    """Of parts that were added up: good beyond their total."""

    def __post_init__(self) -> None:
        for name in ("good", "total", "events", "events_bad", "surplus"):
            value = getattr(self, name)
            if value is None and name.startswith("events"):
                continue
            if type(value) is not int:
                raise Invalid(faults=(Fault(f"/{name}", "not_whole", f"{name} is a whole number"),))
            if value < 0:
                raise Invalid(
                    faults=(Fault(f"/{name}", "negative", f"{name} is {value}; nothing is counted below zero"),)
                )
        if (self.events is None) != (self.events_bad is None):
            raise Invalid(faults=(Fault("/events", "incomplete", "events and events_bad are given together"),))

    @property
    def bad(self) -> int:
        return max(self.total - self.good, 0)

    @property
    def seen(self) -> int:
        """Attempts behind the figures: what the guard against low traffic looks at."""
        return self.total if self.events is None else self.events

    @property
    def seen_bad(self) -> int:
        return self.bad if self.events_bad is None else self.events_bad

    @property
    def excess(self) -> int:
        """Good beyond total, here or in a part of the sum."""
        return self.surplus + max(self.good - self.total, 0)

    def __add__(self, other: Counts) -> Counts:
        weighed = self.events is not None or other.events is not None
        return Counts(
            min(self.good, self.total) + min(other.good, other.total),
            self.total + other.total,
            self.seen + other.seen if weighed else None,
            self.seen_bad + other.seen_bad if weighed else None,
            self.excess + other.excess,
        )


NONE_COUNTED = Counts(0, 0)


def total_of(parts: Iterable[Counts]) -> Counts:
    """Their sum. Parts of one objective are either all weighed by amount or none is; an empty one fits both."""
    total = NONE_COUNTED
    for part in parts:
        total = total + part if total.total or total.seen or total.excess else _alone(part)
    return total


def _alone(part: Counts) -> Counts:
    return Counts(min(part.good, part.total), part.total, part.events, part.events_bad, part.excess)


def counts_findings(counts: Counts) -> tuple[Finding, ...]:
    if not counts.excess:
        return ()
    detail = f"{counts.excess} more good than total: the measurement is wrong, and no figure made of it can be trusted"
    return (Finding("more_good_than_total", detail),)


# -- what is measured --------------------------------------------------------------------------------------------------


class Measure(StrEnum):
    AVAILABILITY = "availability"
    """Attempts that were answered, of all that count; the table is in `verdicts.py`."""
    LATENCY = "latency"
    """Attempts answered within `threshold_ms`, of those answered: an outage spends the budget of availability alone."""
    MONEY = "money"
    """As availability, each attempt weighed by its amount, in one currency: amounts of two currencies have no sum."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which attempts count. None: any."""

    provider: str | None = None
    method: str | None = None
    merchant: str | None = None
    """The tenant."""
    operation: str | None = None
    currency: str | None = None
    """Always given for money, and for nothing else."""
    threshold_ms: int | None = None
    """Always given for latency, and for nothing else."""


class Indicator(msgspec.Struct, frozen=True):
    measure: Measure
    filter: Filter

    @property
    def fingerprint(self) -> str:
        """The same for the same measurement only, so that hours counted by another definition are never taken for its own."""
        return sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:12]


# -- when somebody is told ---------------------------------------------------------------------------------------------


class Severity(StrEnum):
    PAGE = "page"
    TICKET = "ticket"


class BurnRule(NamedTuple):
    """Alert when both windows burn faster than `burn_tenths / 10`, and the long one has seen enough to believe it."""

    name: str
    severity: Severity
    short: str
    """Ends the alert soon after the errors end."""
    long: str
    burn_tenths: int
    events_min: int
    """Fewer attempts in the long window prove nothing."""
    bad_min: int
    """So do fewer bad ones: with little traffic one error is already a high rate."""


WINDOWS = MappingProxyType(
    {
        "5m": 5 * MINUTE,
        "30m": 30 * MINUTE,
        "1h": HOUR,
        "2h": 2 * HOUR,
        "6h": 6 * HOUR,
        "1d": DAY,
        "3d": 3 * DAY,
    }
)
"""The windows that burn alerts look at, by name."""

BURN_RULES = (
    BurnRule("page-fast", Severity.PAGE, "5m", "1h", 144, events_min=30, bad_min=5),
    BurnRule("page-slow", Severity.PAGE, "30m", "6h", 60, events_min=30, bad_min=5),
    BurnRule("ticket-fast", Severity.TICKET, "2h", "1d", 30, events_min=30, bad_min=3),
    BurnRule("ticket-slow", Severity.TICKET, "6h", "3d", 10, events_min=30, bad_min=3),
)
"""Burn rates and windows are those of the SRE Workbook, chapter "Alerting on SLOs" (https://sre.google/workbook/alerting-on-slos/,
checked 2026-11-27). The minimums are ours."""

RULES_BY_NAME = MappingProxyType({rule.name: rule for rule in BURN_RULES})
EVERY_RULE = tuple(RULES_BY_NAME)


class Slo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One objective: of what `indicator` counts within `window_days` up to now, at least the share `target` is good."""

    name: str
    """At most 63 of a-z, 0-9 and -: also a label's value and part of a key."""
    service: str
    indicator: Indicator
    target: Ratio
    window_days: int
    display_name: str = ""
    description: str = ""
    rules: tuple[str, ...] = EVERY_RULE
    """Names of the burn rules that sound for it."""
    tells_absence: bool = True
    """Whether a ticket is opened when nothing measures it any more."""

    @property
    def title(self) -> str:
        return self.display_name or self.name

    @property
    def window(self) -> Millis:
        return self.window_days * DAY

    @property
    def burn_rules(self) -> tuple[BurnRule, ...]:
        """Its own, without those that its target puts out of reach."""
        return tuple(rule for rule in self._own_rules if _can_sound(rule, self.target))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Rules that can never sound (a budget of 10 % is not burnt 14.4 times as fast by errors alone), and having none at all."""
        unreachable = [
            Finding(
                "burn_out_of_reach",
                f"{rule.name} never sounds: with {self.target.exact_percent()} the highest burn rate is "
                f"{most_burn(self.target).decimal(1)}, not above {rule.burn_tenths // 10}.{rule.burn_tenths % 10}",
            )
            for rule in self._own_rules
            if not _can_sound(rule, self.target)
        ]
        silent = () if self.burn_rules else (Finding("nobody_is_told", "no burn alert sounds for this objective"),)
        return (*unreachable, *silent)

    @property
    def _own_rules(self) -> tuple[BurnRule, ...]:
        return tuple(rule for rule in BURN_RULES if rule.name in self.rules)


def most_burn(target: Ratio) -> Ratio:
    """The burn rate while everything fails."""
    spare = target.less_than_one_by()
    return ratio(spare.under, spare.over)


def _can_sound(rule: BurnRule, target: Ratio) -> bool:
    return most_burn(target).is_above(Ratio(rule.burn_tenths, 10))
