"""Dry runs over what was really received."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from interlock.core.desk.alerts.commands import TryAlertRules
from interlock.core.desk.alerts.model import SIGNALS_KEPT, Alert, Received, SignalState
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.records import decode_received, signal_prefix, signals_partition
from interlock.core.desk.alerts.rule_set import load_rules
from interlock.core.desk.alerts.rules import AlertRule, check_rules, instant
from interlock.core.desk.alerts.silences import end_of_quiet, silence_ended
from interlock.core.desk.alerts.states import AlertState
from interlock.core.desk.alerts.verdicts import Fate, Known, apply, key_of
from interlock.core.desk.alerts.views import AlertDryRunView, fate_view
from interlock.core.kernel.clock import DAY, Millis, rfc3339, utc_day
from interlock.core.kernel.errors import Fault, Invalid

SIGNALS_TRIED_MAX = 5_000
FATES_SHOWN_MAX = 500
_STEP = 50
"""Signals tried before others may run: a group of hundreds takes about half a millisecond for each."""


class Rehearsed(NamedTuple):
    since: Millis
    until: Millis
    """Before this; how far it came, if it is not complete."""
    signals: int
    complete: bool
    outcomes: Mapping[str, int]
    acted: Mapping[str, int]
    alerts: int
    told: int
    fates: tuple[Fate, ...]
    """The last FATES_SHOWN_MAX."""


class Rehearsal:
    """A dry run: feed it received signals in their order. It begins with no alert open, and nobody acts on any."""

    def __init__(self, rules: Sequence[AlertRule]) -> None:
        self._rules = tuple(rules)
        self._placed: dict[str, str] = {}
        """Own key -> key of the alert it was last put into."""
        self._quiet_until: dict[str, Millis | None] = {}
        """Member -> when the silence ends in which it fired last."""
        self.alerts: dict[str, Alert] = {}
        """By key, as they stand."""
        self.silences_ended = 0
        """How often an alert was told of because its silence was over."""

    def feed(self, received: Received) -> Fate:
        signal = received.signal
        placed = self._placed.get(signal.own_key, signal.own_key)
        self._pass_time(placed, received.at)
        key = key_of(self._rules, signal, self.alerts.get(placed))
        self._pass_time(key, received.at)
        verdict = apply(self._rules, signal, Known(key, self.alerts.get(key)), received.at)
        if verdict.alert is not None:
            self.alerts[key] = verdict.alert
            if signal.state is SignalState.FIRING:
                self._placed[signal.own_key] = key
                if verdict.alert.state is AlertState.SILENCED:
                    self._quiet_until[signal.member] = end_of_quiet(self._rules, signal, verdict.at)
        return Fate(received, verdict)

    def finish(self, until: Millis) -> None:
        """End the silences that are over by then."""
        for key in list(self.alerts):
            self._pass_time(key, until)

    def _pass_time(self, key: str, until: Millis) -> None:
        alert = self.alerts.get(key)
        if alert is None or alert.state is not AlertState.SILENCED:
            return
        ends = [end for one in alert.muted if (end := self._quiet_until[one.member]) is not None and end <= until]
        verdict = silence_ended(self._rules, alert, min(ends)) if ends else None
        if verdict is not None and verdict.alert is not None:
            self.alerts[key] = verdict.alert
            self.silences_ended += 1


def dry_run(rules: Sequence[AlertRule], history: Iterable[Received]) -> list[Fate]:
    """What would have become of each signal, had these rules been there from the beginning. `history` is in order of time."""
    rehearsal = Rehearsal(rules)
    return [rehearsal.feed(received) for received in history]


async def rehearse(d: AlertDesk, command: TryAlertRules) -> Rehearsed:
    """What the rules would have made of the signals of that time, had nothing been open at its beginning and nobody acted.

    Changes nothing. Raises Invalid for rules that could not be put in force, and for a time that is not kept any more.
    """
    now = d.clock.now()
    until = now if command.until is None else instant(command.until)
    since = until - DAY if command.since is None else instant(command.since)
    if not now - SIGNALS_KEPT - DAY <= since < until <= now + DAY:
        raise Invalid(faults=(Fault("/since", "out_of_range", "signals are kept for 30 days; since is before until"),))
    if command.rules is not None:
        check_rules(command.rules)
    rules = (await load_rules(d)).rules if command.rules is None else command.rules
    rehearsal = Rehearsal(rules)
    outcomes: Counter[str] = Counter()
    acted: Counter[str] = Counter()
    alerts: set[str] = set()
    shown: deque[Fate] = deque(maxlen=FATES_SHOWN_MAX)
    signals = told = 0
    complete = True
    async for received in read_history(d, since=since, until=until):
        if signals == SIGNALS_TRIED_MAX:
            complete, until = False, received.at
            break
        fate = rehearsal.feed(received)
        signals += 1
        told += fate.verdict.told
        outcomes[fate.verdict.outcome] += 1
        acted.update(fate.verdict.rules)
        if fate.verdict.alert is not None:
            alerts.add(fate.verdict.alert.id)
        shown.append(fate)
    rehearsal.finish(until - 1)
    told += rehearsal.silences_ended
    return Rehearsed(since, until, signals, complete, outcomes, acted, len(alerts), told, tuple(shown))


async def read_history(d: AlertDesk, *, since: Millis, until: Millis) -> AsyncIterator[Received]:
    """Signals received from `since` until before `until`, in the order of time. Lets others run between its pages."""
    now = d.clock.now()
    for day in range(since // DAY, (until - 1) // DAY + 1):
        after: str | None = signal_prefix(max(since, day * DAY))
        while after is not None:
            page = await d.store.query(signals_partition(utc_day(day * DAY)), after=after, limit=_STEP)
            for item in page.items:
                received = decode_received(item)
                if received.at >= until:
                    return
                if item.expires_at is None or item.expires_at > now:
                    yield received
            after = page.next
            await d.clock.sleep(0)


def dry_run_view(found: Rehearsed) -> AlertDryRunView:
    return AlertDryRunView(
        rfc3339(found.since),
        rfc3339(found.until),
        found.signals,
        found.complete,
        found.outcomes,
        found.acted,
        found.alerts,
        found.told,
        [fate_view(fate) for fate in found.fates],
    )
