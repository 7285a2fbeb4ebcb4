"""How an event reaches its endpoints: `fan_out` makes deliveries of it, `deliver` brings the first open one of a lane.

Every open delivery has a queue message of its own alive, or stands behind an open one in its lane that has. A worker that
finishes a delivery goes on with the next of the lane, so the messages of those behind may be dropped when they come early.
Each step may be interrupted anywhere and repeated by anyone: then a webhook arrives more than once, never not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.core.kernel.bus import BusMessage, BusRecord, event_in
from interlock.core.kernel.clock import SECOND, Millis
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.queue import DELAY_MAX_S, QueueMessage
from interlock.core.kernel.secrets import Secret
from interlock.core.kernel.store import ABSENT, WRITES_MAX
from interlock.core.webhooks.events import DELIVERABLE
from interlock.core.webhooks.handlers import HeldEndpoint, disable_gone
from interlock.core.webhooks.listing import read_event
from interlock.core.webhooks.model import Attempt, Delivery, Turn, new_delivery, turn_of, with_attempt
from interlock.core.webhooks.ports import QUEUE, QUEUE_LEASE_S, Failure, SendResult, Webhooks
from interlock.core.webhooks.records import (
    decode_delivery,
    decode_endpoint,
    decode_turn,
    deliveries_partition,
    delivery_key,
    delivery_write,
    encode_turn,
    endpoint_key,
    endpoint_write,
    lane_prefix,
)
from interlock.core.webhooks.schedule import HORIZON, postpone_s, retry_pause_s
from interlock.core.webhooks.signing import signed_headers
from interlock.core.webhooks.states import DeliveryState, Trigger, after
from interlock.core.webhooks.views import event_body, masked

LEASE_BEYOND_TIMEOUT_S = 30.0
"""A lease outlives the longest request by so much."""
LOOK_AFTER_LEASE_S = 1.0
TURN_MAX_S = QUEUE_LEASE_S / 3
"""A worker begins no further delivery on one message after so long, well before the message's own lease ends."""
GONE = 410


class Head(NamedTuple):
    """The first open delivery of a lane."""

    delivery: Delivery
    item_version: int


async def consume(
    w: Webhooks, records: Sequence[BusRecord], *, decode: Callable[[BusMessage], Event] = event_in
) -> None:
    """Make deliveries of a batch of events; all is durable when it returns. Safe to repeat."""
    events: list[Event] = []
    for record in records:
        try:
            events.append(decode(record.message))
        except msgspec.DecodeError:
            w.telemetry.error("webhook.event_unreadable", event_id=record.message.id)
    await _fan_out(w, events)


async def fan_out(w: Webhooks, event: Event) -> None:
    """Make a delivery for each endpoint that wants the event. Safe to repeat."""
    await _fan_out(w, (event,))


async def deliver(w: Webhooks, message: QueueMessage) -> bool:
    """Look after the lane a message names. False: it cannot be told yet, give the message back and try again soon."""
    try:
        turn = decode_turn(message.body)
    except msgspec.DecodeError:
        w.telemetry.error("webhook.turn_unreadable", queue=QUEUE)
        return True
    began = w.clock.monotonic()
    while (head := await _head(w, turn)) is not None:
        delivery = head.delivery
        own = delivery.version == turn.version
        now = w.clock.now()
        if delivery.version < turn.version and not delivery.by_hand:
            return True  # it has a message of its own, and whoever finishes it goes on with ours
        if own and turn.attempts < delivery.attempts_total and message.attempts == 1:
            return True  # a leftover: whoever made the last attempt has sent, or will send, another
        if _is_under_way(w, delivery, now):
            # Whoever is at it may have failed, and the message it had may have been dropped in favour of this one: somebody
            # must look again when the lease is over. If all went well, that look finds a leftover.
            await _send_later(w, turn_of(delivery), (delivery.lease_until - now) / SECOND + LOOK_AFTER_LEASE_S)
            return True
        if now < delivery.due_at:
            await _send_later(w, turn_of(delivery), (delivery.due_at - now) / SECOND)
            return True
        if w.clock.monotonic() - began > TURN_MAX_S:
            await _send_later(w, turn_of(delivery), 0.0)
            return True
        with w.traffic.at(delivery.id):
            goes_on = await _advance(w, head, turn.postponed if own else 0)
        if not goes_on:
            return True
    return True


def _is_under_way(w: Webhooks, delivery: Delivery, now: Millis) -> bool:
    leased = delivery.state is DeliveryState.SENDING and now < delivery.lease_until
    return leased and (w.traffic.is_at(delivery.id) or not w.alone)


async def _fan_out(w: Webhooks, events: Sequence[Event]) -> None:
    await w.subscriptions.refresh()
    fresh: dict[str, Delivery] = {}  # by id: the bus may have an event twice in one batch
    for event in events:
        subscribed = await w.subscriptions.of(event.tenant)
        if not subscribed or event.type not in DELIVERABLE:
            continue
        now = w.clock.now()
        for one in subscribed:
            if one.wants(event):
                delivery = new_delivery(one.endpoint, event, now)
                fresh.setdefault(delivery.id, delivery)
    made = list(fresh.values())
    for start in range(0, len(made), WRITES_MAX):
        await _create(w, made[start : start + WRITES_MAX])
    if made:
        # Also for those that stood already: whoever made them may have died before it came to this.
        await w.together([w.queue.send(QUEUE, encode_turn(turn_of(delivery))) for delivery in made])


async def _create(w: Webhooks, deliveries: Sequence[Delivery]) -> None:
    """In one commit; if one of them stands already (a repeated event), one by one."""
    try:
        await w.store.commit([delivery_write(delivery, 0) for delivery in deliveries])
    except WriteConflict:
        if len(deliveries) > 1:
            for delivery in deliveries:
                await _create(w, (delivery,))
        elif await _version(w, deliveries[0]) == ABSENT:
            raise  # a conflict in passing: the event must come again


async def _head(w: Webhooks, turn: Turn) -> Head | None:
    partition, prefix = deliveries_partition(turn.tenant, turn.aggregate), lane_prefix(turn.endpoint)
    behind: str | None = None
    while True:
        page = await w.store.query(partition, prefix=prefix, after=behind)
        for item in page.items:
            delivery = decode_delivery(item)
            if delivery.is_open:
                return Head(delivery, item.version)
        if page.next is None:
            return None
        behind = page.next


async def _advance(w: Webhooks, head: Head, postponed: int) -> bool:
    """Bring the head one step on: attempt it, cancel it, or put it off. Whether to look at the lane again now."""
    delivery = head.delivery
    now = w.clock.now()
    if now - delivery.created_at > HORIZON and delivery.attempts_total and not delivery.by_hand:
        return await _finish(w, head, Trigger.EXHAUSTED, "expired")
    item = await w.store.get(endpoint_key(delivery.tenant, delivery.endpoint))
    if item is None:
        return await _finish(w, head, Trigger.ENDPOINT_GONE, "endpoint_deleted")
    held = HeldEndpoint(decode_endpoint(item), item.version)
    if not held.endpoint.enabled:
        return await _finish(w, head, Trigger.ENDPOINT_GONE, "endpoint_disabled")
    event = await read_event(w, delivery.tenant, delivery.aggregate, delivery.version)
    if event is None or event.id != delivery.event:
        w.telemetry.error(
            "webhook.event_missing", delivery_id=delivery.id, event_id=delivery.event, aggregate=delivery.aggregate
        )
        return await _finish(w, head, Trigger.EXHAUSTED, "event_missing")
    place = {"tenant": delivery.tenant, "endpoint": delivery.endpoint}
    secrets = [await w.safe.take_out(stored, **place) for stored in held.endpoint.current_secrets(now)]
    if not w.traffic.enter(delivery.endpoint):
        await _send_later(w, turn_of(delivery, postponed=postponed + 1), postpone_s(postponed, random=w.random()))
        return False
    succeeded: bool | None = None
    try:
        leased = await _lease(w, head, now)
        if leased is None:
            return True
        result = await _attempt(w, held, leased.delivery, event, secrets)
        succeeded = _is_success(result)
    finally:
        w.traffic.leave(delivery.endpoint, succeeded=succeeded)
    return await _record(w, held, leased, result, at=now)


async def _lease(w: Webhooks, head: Head, now: Millis) -> Head | None:
    """None: somebody else was faster."""
    lease_until = now + round((w.timeout_s + LEASE_BEYOND_TIMEOUT_S) * SECOND)
    leased = replace(head.delivery, state=after(head.delivery.state, Trigger.TAKEN), lease_until=lease_until)
    try:
        await w.store.commit([delivery_write(leased, head.item_version)])
    except WriteConflict:
        return None
    return Head(leased, head.item_version + 1)


async def _attempt(
    w: Webhooks, held: HeldEndpoint, delivery: Delivery, event: Event, secrets: Sequence[Secret]
) -> SendResult:
    body = event_body(event)
    now = w.clock.now()
    headers = signed_headers(secrets, message_id=event.id, at=now, body=body)
    with w.telemetry.span(
        "webhook.attempt",
        parent=event.trace,
        event_id=event.id,
        endpoint_id=delivery.endpoint,
        delivery_id=delivery.id,
        aggregate=event.aggregate,
    ) as span:
        headers["user-agent"] = "Interlock-Webhooks/1"
        result = await w.sender.send(held.endpoint.url, headers, body, timeout_s=w.timeout_s)
        span.set(status=result.status, reason=result.failure)
    outcome = _outcome(result)
    w.telemetry.count("interlock_webhook_deliveries_total", result=outcome)
    w.telemetry.observe("interlock_webhook_delivery_duration_seconds", result.duration_ms / SECOND, result=outcome)
    return result


async def _record(w: Webhooks, held: HeldEndpoint, leased: Head, result: SendResult, *, at: Millis) -> bool:
    """Write down what came of the attempt, and what is next."""
    before = leased.delivery
    now = w.clock.now()
    attempt = Attempt(at, result.duration_ms, result.status, result.failure, masked(result.excerpt))
    delivery = replace(
        before,
        lease_until=0,
        tries=before.tries + 1,
        attempts=with_attempt(before.attempts, attempt),
        attempts_total=before.attempts_total + 1,
    )
    trigger, pause_s = _verdict(delivery, result, w.random())
    state = after(before.state, trigger)
    delivery = replace(delivery, state=state)
    if pause_s is not None:
        delivery = replace(delivery, due_at=now + round(pause_s * SECOND))
    else:
        delivered_at = (before.delivered_at or now) if state is DeliveryState.DELIVERED else before.delivered_at
        reason = _reason(state, result)
        delivery = replace(delivery, delivered_at=delivered_at, finished_at=now, by_hand=False, reason=reason)
    try:
        await w.store.commit([delivery_write(delivery, leased.item_version)])
    except WriteConflict:
        if await _version(w, before) == leased.item_version:
            raise  # a conflict in passing, and nobody has taken over: the message must come again
        # Our lease had ended and another worker has taken over: it sends again, and records what it hears.
        _warn(w, "webhook_delivery.result_late", delivery)
        return True
    await _note_health(w, held, delivery, result, now)
    if pause_s is not None:
        await _send_later(w, turn_of(delivery), pause_s)
        return False
    if state is DeliveryState.DEAD:
        _warn(w, "webhook_delivery.died", delivery)
    return True


def _warn(w: Webhooks, event: str, delivery: Delivery) -> None:
    w.telemetry.warning(event, delivery_id=delivery.id, endpoint_id=delivery.endpoint, aggregate=delivery.aggregate)


async def _version(w: Webhooks, delivery: Delivery) -> int:
    """Of the stored item; ABSENT if there is none."""
    key = delivery_key(delivery.tenant, delivery.endpoint, delivery.aggregate, delivery.version)
    item = await w.store.get(key)
    return ABSENT if item is None else item.version


def _verdict(delivery: Delivery, result: SendResult, random: float) -> tuple[Trigger, float | None]:
    """What the attempt just made means, and the pause before the next one if there is one."""
    if _is_success(result):
        return Trigger.ACCEPTED, None
    if delivery.by_hand or result.status == GONE:
        return (Trigger.EXHAUSTED if delivery.delivered_at is None else Trigger.REPEAT_FAILED), None
    pause_s = retry_pause_s(delivery.tries, random=random, retry_after_s=result.retry_after_s)
    return (Trigger.EXHAUSTED if pause_s is None else Trigger.FAILED), pause_s


async def _note_health(w: Webhooks, held: HeldEndpoint, delivery: Delivery, result: SendResult, now: Millis) -> None:
    """Mark the endpoint when it begins to fail and when it is well again; a 410 disables it."""
    endpoint = held.endpoint
    if result.status == GONE:
        await disable_gone(w, held)
        return
    if _is_success(result):
        failing_since = None
    elif endpoint.failing_since is None and (w.traffic.is_failing(endpoint.id) or delivery.tries > 2):
        failing_since = now
        w.telemetry.warning("webhook_endpoint.failing", endpoint_id=endpoint.id, tenant=endpoint.tenant)
    else:
        return
    if failing_since != endpoint.failing_since:
        with suppress(WriteConflict):  # it was changed meanwhile: the next attempt will see to it
            marked = replace(endpoint, failing_since=failing_since)
            await w.store.commit([endpoint_write(marked, held.item_version)])


async def _finish(w: Webhooks, head: Head, trigger: Trigger, reason: str) -> bool:
    """End a delivery without an attempt. True: the lane goes on."""
    before = head.delivery
    if before.delivered_at is not None:
        trigger, reason = Trigger.REPEAT_FAILED, ""
    delivery = replace(
        before,
        state=after(before.state, trigger),
        lease_until=0,
        by_hand=False,
        finished_at=w.clock.now(),
        reason=reason,
    )
    with suppress(WriteConflict):
        await w.store.commit([delivery_write(delivery, head.item_version)])
    return True


async def _send_later(w: Webhooks, turn: Turn, delay_s: float) -> None:
    await w.queue.send(QUEUE, encode_turn(turn), delay_s=min(max(delay_s, 0.0), DELAY_MAX_S))


def _is_success(result: SendResult) -> bool:
    return result.status is not None and 200 <= result.status < 300


def _reason(state: DeliveryState, result: SendResult) -> str:
    if state is not DeliveryState.DEAD:
        return ""
    return "endpoint_gone" if result.status == GONE else "attempts_exhausted"


def _outcome(result: SendResult) -> str:
    if _is_success(result):
        return "accepted"
    if result.failure is Failure.FORBIDDEN_ADDRESS:
        return "refused"
    return result.failure or f"{(result.status or 0) // 100}xx"
