"""Receiving: a webhook is proved, read, and each of its signals becomes of an alert what the rules say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from interlock.core.desk.alerts.events import Facts, alert_event
from interlock.core.desk.alerts.formats import parse
from interlock.core.desk.alerts.model import AlertFormat, Received, Signal, SignalState, Source, place_of
from interlock.core.desk.alerts.ports import BODY_BYTES_MAX, AlertDesk
from interlock.core.desk.alerts.proofs import Delivery, prove, refuse_unknown
from interlock.core.desk.alerts.records import (
    HeldAlert,
    alert_write,
    current_key,
    decode_placed,
    held_alert,
    past_key,
    placed_key,
    placed_write,
    seen_key,
    seen_write,
    signal_write,
)
from interlock.core.desk.alerts.rule_set import load_rules
from interlock.core.desk.alerts.rules import AlertRule
from interlock.core.desk.alerts.sns import SUBSCRIPTION
from interlock.core.desk.alerts.sources import load_source
from interlock.core.desk.alerts.verdicts import Fate, Known, Verdict, apply, key_of
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import (
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
    WriteConflict,
)
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Check, Put, Write

SIGNAL = "sig"
"""Prefix of the ids of received signals."""
CONFLICTS_MAX = 8
ACCEPTED, DUPLICATE, CONFIRMED, UNSUBSCRIBED = "accepted", "duplicate", "confirmed", "unsubscribed"
_REFUSALS: tuple[tuple[type[InterlockError], str], ...] = (
    (Unauthenticated, "unauthenticated"),
    (PayloadTooLarge, "too_large"),
    (Invalid, "invalid"),
    (Unavailable, "unavailable"),
    (OutcomeUnknown, "unavailable"),
)


class Receipt(NamedTuple):
    result: str
    """accepted, duplicate, confirmed or unsubscribed."""
    format: AlertFormat
    fates: tuple[Fate, ...] = ()
    """What became of each signal that was taken, in the order of the body."""


async def receive(d: AlertDesk, source_id: str, headers: Mapping[str, str], raw: bytes) -> Receipt:
    """Take one webhook in. Durable when it returns; `headers` have names in lower case.

    At least once: if it ends half-way, what was done stays, and the tool's repeat counts those signals again. It opens
    nothing twice. Of a webhook whose proof tells repeats (hmac, sns) each signal is taken once, however often and at
    once it is sent.
    Counts each one, taken or refused, as interlock_alert_webhooks_total{format, result}. Raises Unauthenticated (also for a
    source that does not exist), Invalid with pointers into the body, PayloadTooLarge, Unavailable.
    """
    format = "unknown"
    try:
        now = d.clock.now()
        source = await _known_source(d, source_id, headers, now)
        format = source.format
        receipt = await _receive(d, source, headers, raw, now)
    except InterlockError as error:
        result = next((word for kind, word in _REFUSALS if isinstance(error, kind)), "failed")
        d.telemetry.count("interlock_alert_webhooks_total", format=format, result=result)
        raise
    d.telemetry.count("interlock_alert_webhooks_total", format=format, result=receipt.result)
    return receipt


async def take(d: AlertDesk, rules: Sequence[AlertRule], signal: Signal, now: Millis) -> Fate:
    """Do with one signal what the rules say. Whoever loses a race reloads and decides again. Raises Unavailable."""
    fate = await _take(d, rules, signal, now, once=None)
    assert fate is not None, "only what is remembered was taken before"
    return fate


async def _take(
    d: AlertDesk, rules: Sequence[AlertRule], signal: Signal, now: Millis, *, once: Put | None
) -> Fate | None:
    """`once`: remembers in the same commit that it was taken. None: it was, before or meanwhile."""
    for _ in range(CONFLICTS_MAX):
        if once is not None and await d.store.get(once.key) is not None:
            return None
        placed = await d.store.get(placed_key(signal.own_key))
        before_key = signal.own_key if placed is None else decode_placed(placed).key
        before = await _current(d, before_key)
        key = key_of(rules, signal, None if before is None else before.alert)
        held = before if key == before_key else await _current(d, key)
        verdict = apply(rules, signal, Known(key, None if held is None else held.alert), now)
        received = Received(verdict.at, signal)
        writes: list[Write] = [signal_write(received, d.ids.new(SIGNAL)), *_alert_writes(verdict, held)]
        if signal.state is SignalState.FIRING:
            # Two who put it into different alerts must not both succeed: its end would reach only one of them.
            stays = key == before_key
            version = ABSENT if placed is None else placed.version
            where = placed_key(signal.own_key)
            writes.append(Check(where, version) if stays else placed_write(signal.own_key, key, version, verdict.at))
        if once is not None:
            writes.append(once)
        try:
            await d.store.commit(writes, _events(d, verdict, signal))
        except WriteConflict:
            continue
        return Fate(received, verdict)
    raise Unavailable("others are changing this alert at the same time; repeat", retry_after_s=1)


async def _known_source(d: AlertDesk, source_id: str, headers: Mapping[str, str], now: Millis) -> Source:
    try:
        return (await load_source(d, source_id)).source
    except NotFound:
        raise refuse_unknown(headers, now) from None


async def _receive(d: AlertDesk, source: Source, headers: Mapping[str, str], raw: bytes, now: Millis) -> Receipt:
    if len(raw) > BODY_BYTES_MAX:
        raise PayloadTooLarge(f"the body may have at most {BODY_BYTES_MAX} bytes")
    delivery = await prove(d, source, headers, raw, now)
    if delivery.id is not None and await d.store.get(seen_key(source.id, delivery.id)) is not None:
        return Receipt(DUPLICATE, source.format)
    if delivery.message is not None and not delivery.message.is_notification:
        result = await _confirm(d, source, delivery)
        await _remember(d, source, delivery)
        return Receipt(result, source.format)
    signals = parse(source.format, raw, source=source.id)
    rules = (await load_rules(d)).rules
    taken = [
        await _take(d, rules, signal, now, once=_once(source, delivery, place)) for place, signal in enumerate(signals)
    ]
    fates = tuple(fate for fate in taken if fate is not None)
    # Only now: had it been remembered first, a failure half-way would make the tool's repeat look like a replay.
    await _remember(d, source, delivery)
    return Receipt(ACCEPTED if fates or not signals else DUPLICATE, source.format, fates)


async def _confirm(d: AlertDesk, source: Source, delivery: Delivery) -> str:
    """Amazon SNS asks whether we want its messages, or says that somebody no longer does."""
    message = delivery.message
    assert message is not None, "only SNS asks for confirmations"
    if message.type == SUBSCRIPTION and message.subscribe_url is not None:
        await d.sns.confirm(message.subscribe_url)
        return CONFIRMED
    # Who ended the subscription had the right to. But alarms will not come any more, and a person must know.
    d.telemetry.error("alert_source.unsubscribed", name=source.id)
    return UNSUBSCRIBED


def _once(source: Source, delivery: Delivery, place: int) -> Put | None:
    """For the signal at this place of a delivery that can be told from others."""
    if delivery.id is None:
        return None
    return seen_write(source.id, f"{delivery.id}/{place}", delivery.remembered_until)


async def _remember(d: AlertDesk, source: Source, delivery: Delivery) -> None:
    if delivery.id is None:
        return
    try:
        await d.store.commit([seen_write(source.id, delivery.id, delivery.remembered_until)])
    except WriteConflict:
        return  # the same delivery, twice at once: the other one remembered it


async def _current(d: AlertDesk, key: str) -> HeldAlert | None:
    item = await d.store.get(current_key(place_of(key)))
    return None if item is None else held_alert(item)


def _alert_writes(verdict: Verdict, held: HeldAlert | None) -> list[Write]:
    """The alert as it is now; one that it takes the place of moves beside it."""
    alert = verdict.alert
    if alert is None or alert == verdict.previous:
        return []
    place = place_of(alert.key)
    writes: list[Write] = [alert_write(alert, current_key(place), ABSENT if held is None else held.item_version)]
    if held is not None and verdict.is_new:
        writes.append(alert_write(held.alert, past_key(place, held.alert.id), ABSENT))
    return writes


def _events(d: AlertDesk, verdict: Verdict, signal: Signal) -> list[Event]:
    if verdict.alert is None or not verdict.told:
        return []
    facts = Facts(signal.source, rules=verdict.rules)
    return [alert_event(d.ids, verdict.alert, verdict.outcome, verdict.at, facts)]
