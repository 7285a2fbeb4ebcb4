"""Faults on demand: which requests fail and how, how long answers take, and when nothing answers at all. By seed."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlock.core.kernel.clock import Millis
from interlock.simulator.cards import Card
from interlock.simulator.model import Kind

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=40 * 86_400)]
MillisMax = Annotated[float, Meta(ge=0, le=600_000)]
_P99 = 2.3263478740408408
"""Standard deviations from the median to the 99th percentile."""


class FaultKind(StrEnum):
    RESET_BEFORE_ACCEPT = "reset_before_accept"
    """The connection dies; nothing is booked."""
    TIMEOUT_BEFORE_ACCEPT = "timeout_before_accept"
    """No answer for `hang_s`, then the connection dies; nothing is booked."""
    RATE_LIMITED = "rate_limited"
    """429 with Retry-After; nothing is booked."""
    UNAVAILABLE = "unavailable"
    """503; nothing is booked."""
    LATE_ACCEPT = "late_accept"
    """No answer, and booked only `late_accept_s` later: a lookup meanwhile finds nothing."""
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    ERROR_THOUGH_CHARGED = "error_though_charged"
    """Booked, and answered with 500."""
    GARBAGE = "garbage"
    """Booked, and answered with 200 and bytes that mean nothing."""
    TRUNCATED = "truncated"
    """Booked; the connection ends in the middle of the answer."""
    STALLED = "stalled"
    """Booked; half of the answer, then silence for `hang_s`."""
    HUGE = "huge"
    """Booked; the answer announces 64 MB and sends them."""
    ENDLESS = "endless"
    """Booked; the answer has no length and does not end within `hang_s`."""
    WRONG_AMOUNT = "wrong_amount"
    """Booked right; the answer says one unit more."""
    WRONG_CURRENCY = "wrong_currency"
    WRONG_REFERENCE = "wrong_reference"
    """Booked right; the answer is about another merchant's reference."""
    PENDING = "pending"
    """Booked; the answer is pending and the last word comes after `pending_s`."""


BEFORE_ACCEPT = frozenset(
    {
        FaultKind.RESET_BEFORE_ACCEPT,
        FaultKind.TIMEOUT_BEFORE_ACCEPT,
        FaultKind.RATE_LIMITED,
        FaultKind.UNAVAILABLE,
        FaultKind.LATE_ACCEPT,
    }
)
USUAL_MIX = (
    FaultKind.TIMEOUT_AFTER_ACCEPT,
    FaultKind.TIMEOUT_BEFORE_ACCEPT,
    FaultKind.RESET_AFTER_ACCEPT,
    FaultKind.RESET_BEFORE_ACCEPT,
    FaultKind.ERROR_THOUGH_CHARGED,
    FaultKind.UNAVAILABLE,
    FaultKind.GARBAGE,
    FaultKind.TRUNCATED,
    FaultKind.WRONG_AMOUNT,
    FaultKind.RATE_LIMITED,
)
"""What `rate` is shared out among, evenly."""


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["constant", "log_normal"] = "constant"
    ms: MillisMax = 0.0
    """With constant."""
    median_ms: MillisMax = 0.0
    """With log_normal."""
    p99_ms: MillisMax = 0.0

    def __post_init__(self) -> None:
        if self.kind == "log_normal" and not 0 < self.median_ms <= self.p99_ms:
            raise ValueError("log_normal needs 0 < median_ms <= p99_ms")

    def sample_s(self, dice: random.Random) -> float:
        if self.kind == "constant":
            return self.ms / 1_000
        middle = math.log(self.median_ms)
        spread = (math.log(self.p99_ms) - middle) / _P99
        return min(math.exp(dice.gauss(middle, spread)), 600_000.0) / 1_000


class OutageMode(StrEnum):
    CONNECT_REFUSED = "connect_refused"
    """The instance's own port is closed: connections are refused, open ones die."""
    RESET = "reset"
    HANG = "hang"
    UNAVAILABLE = "unavailable"
    """503 to everything."""


class Outage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mode: OutageMode
    from_s: Seconds = 0.0
    """After the plan was set."""
    for_s: Seconds | None = None
    """Until the next plan, if absent."""


class NotificationFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delay_ms: MillisMax = 0.0
    jitter_ms: MillisMax = 0.0
    """Up to so much more, evenly: so they overtake each other."""
    drop_rate: Share = 0.0
    duplicate_rate: Share = 0.0
    of_answers: bool = True
    """Also tell what the answer already said."""


class Refusals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cards whose issuer says no: those that have all that is given."""

    declined: Share
    """Share of the charges that are approved otherwise."""
    bin: Annotated[str, Meta(pattern="^[0-9]{6,8}$")] | None = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None
    brand: Annotated[str, Meta(pattern="^[a-z_]{1,40}$")] | None = None
    decline_code: Annotated[str, Meta(pattern="^[a-z_]{1,60}$")] = "issuer_unavailable"

    def __post_init__(self) -> None:
        if not (self.bin or self.country or self.brand):
            raise ValueError("say which cards are refused: by bin, country or brand")

    def meets(self, card: Card) -> bool:
        wanted = ((self.bin, card.bin), (self.country, card.country), (self.brand, card.brand))
        return all(value in (None, there) for value, there in wanted)


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to go wrong. The default is nothing. A plan replaces the one before as a whole."""

    seed: int = 1
    rate: Share = 0.0
    """Share of all requests that move money which meets one of the usual faults; not along with `rates`."""
    rates: dict[FaultKind, Share] = {}
    operations: dict[Kind, dict[FaultKind, Share]] = {}
    """In the place of the above, for one kind of operation."""
    refusals: list[Refusals] = []
    """The first that meets a card counts."""
    latency: Latency = Latency()
    outages: list[Outage] = []
    hang_s: Seconds = 30.0
    pending_s: Seconds = 2.0
    late_approval_s: Seconds = 2.0
    late_accept_s: Seconds = 2.0
    dispute_s: Seconds = 1.0
    key_lifetime_s: Seconds = 86_400.0
    """After this an idempotency key is forgotten, and the same request is carried out again."""
    notifications: NotificationFaults = NotificationFaults()

    def __post_init__(self) -> None:
        if self.rate and self.rates:
            raise ValueError("give `rate` or `rates`, not both")
        for rates in (self.rates, *self.operations.values()):
            if sum(rates.values()) > 1.000001:
                raise ValueError("rates of one operation are at most 1 together")
        if FaultKind.LATE_ACCEPT in self.operations.get(Kind.LOOKUP, {}):
            raise ValueError("a lookup is not booked, so not booked late either")

    def rates_of(self, kind: Kind) -> dict[FaultKind, float]:
        if kind in self.operations:
            return self.operations[kind]
        if kind is Kind.LOOKUP:
            return {}
        return self.rates or dict.fromkeys(USUAL_MIX, self.rate / len(USUAL_MIX))


class FaultDice:
    """Draws from a plan. The same seed and the same requests in the same order give the same faults."""

    def __init__(self, plan: FaultPlan, *, salt: str, set_at: Millis) -> None:
        self.plan = plan
        self.random = random.Random(f"{plan.seed}/{salt}")  # noqa: S311 - repeatable on purpose
        self._tables: dict[Kind, tuple[list[float], list[FaultKind]]] = {}
        for kind in Kind:
            rates = {fault: rate for fault, rate in plan.rates_of(kind).items() if rate > 0}
            if rates:
                self._tables[kind] = (list(accumulate(rates.values())), list(rates))
        self._set_at = set_at
        self._instant = plan.latency == Latency()

    def fault(self, kind: Kind) -> FaultKind | None:
        table = self._tables.get(kind)
        if table is None:
            return None
        drawn = bisect_right(table[0], self.random.random())
        return table[1][drawn] if drawn < len(table[1]) else None

    def refusal(self, card: Card) -> str | None:
        """The code with which the card's issuer says no, if it does."""
        met = next((one for one in self.plan.refusals if one.meets(card)), None)
        return met.decline_code if met is not None and self.happens(met.declined) else None

    def latency_s(self) -> float:
        return 0.0 if self._instant else self.plan.latency.sample_s(self.random)

    def happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def outage(self, now: Millis) -> OutageMode | None:
        if not self.plan.outages:
            return None
        for window, (start, end) in zip(self.plan.outages, self._windows(), strict=True):
            if start <= now and (end is None or now < end):
                return window.mode
        return None

    def next_turn(self, now: Millis) -> Millis | None:
        """When an outage begins or ends next."""
        if not self.plan.outages:
            return None
        turns = [turn for window in self._windows() for turn in window if turn is not None and turn > now]
        return min(turns, default=None)

    def _windows(self) -> list[tuple[Millis, Millis | None]]:
        found = []
        for window in self.plan.outages:
            start = self._set_at + round(window.from_s * 1_000)
            found.append((start, None if window.for_s is None else start + round(window.for_s * 1_000)))
        return found
