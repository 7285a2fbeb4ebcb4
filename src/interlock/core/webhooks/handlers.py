"""The commands of endpoints: create, change, rotate, delete; and `retry` of a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.core.access.audit import audit_event
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.errors import Conflict, Fault, Invalid, NotFound, Unavailable, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.secrets import Secret
from interlock.core.kernel.store import ABSENT, Delete, Put, Write
from interlock.core.webhooks.commands import CreateEndpoint, UpdateEndpoint
from interlock.core.webhooks.events import DELIVERABLE, Facts, encode_facts
from interlock.core.webhooks.listing import find_delivery
from interlock.core.webhooks.model import ALL, ENDPOINTS_MAX, Delivery, Endpoint, SigningSecret, turn_of
from interlock.core.webhooks.ports import QUEUE, Webhooks
from interlock.core.webhooks.records import (
    REVISION,
    decode_delivery,
    decode_endpoint,
    delivery_key,
    delivery_write,
    encode_turn,
    endpoint_key,
    endpoint_write,
    endpoints_partition,
)
from interlock.core.webhooks.signing import new_secret
from interlock.core.webhooks.states import STATUS, DeliveryStatus, Trigger, after
from interlock.core.webhooks.targets import url_faults
from interlock.core.webhooks.views import endpoint_data

ROTATION_GRACE: Millis = DAY
"""How long a replaced secret signs along."""
RETRY_AT_THE_LATEST_S = 30.0
CONFLICTS_MAX = 8
PLATFORM_ACTOR = "platform"
"""In the audit trail, for what nobody asked for."""


class HeldEndpoint(NamedTuple):
    endpoint: Endpoint
    item_version: int


async def create_endpoint(w: Webhooks, command: CreateEndpoint, request: Request) -> tuple[Endpoint, Secret]:
    """The endpoint and its secret, which is never shown again.

    It gets every event committed after this returns. Raises Invalid naming each fault, Conflict when there are too many.
    """
    _check(w, url=command.url, events=command.events)
    standing = await w.store.query(endpoints_partition(request.tenant), limit=ENDPOINTS_MAX)
    if len(standing.items) >= ENDPOINTS_MAX:
        raise Conflict(f"there are {ENDPOINTS_MAX} endpoints already", code="too_many_endpoints")
    now = w.clock.now()
    secret, endpoint_id = new_secret(w.random_bytes), w.ids.new(ids.WEBHOOK_ENDPOINT)
    stored = await w.safe.put_in(secret, tenant=request.tenant, endpoint=endpoint_id)
    endpoint = Endpoint(
        id=endpoint_id,
        tenant=request.tenant,
        url=command.url,
        events=_ordered(command.events),
        description=command.description,
        enabled=True,
        disabled_reason=None,
        secrets=(SigningSecret(stored),),
        version=1,
        created_at=now,
        updated_at=now,
    )
    for _ in range(CONFLICTS_MAX):
        try:
            await _commit(w, endpoint, endpoint_write(endpoint, ABSENT), "created", Facts("api", *_who(request)))
        except WriteConflict:
            continue
        return endpoint, secret
    raise _busy()


async def update_endpoint(
    w: Webhooks, endpoint_id: str, command: UpdateEndpoint, request: Request
) -> tuple[Endpoint, Secret | None]:
    """The endpoint as it now is, and its new secret if one was asked for. Raises NotFound, Invalid."""
    _check(
        w,
        url=None if command.url is msgspec.UNSET else command.url,
        events=None if command.events is msgspec.UNSET else command.events,
    )
    secret = new_secret(w.random_bytes) if command.rotate_secret else None
    stored = None
    if secret is not None:
        stored = await w.safe.put_in(secret, tenant=request.tenant, endpoint=endpoint_id)
    for _ in range(CONFLICTS_MAX):
        held = await load_endpoint(w, request.tenant, endpoint_id)
        changed = _changed(held.endpoint, command, stored, w.clock.now())
        if changed is held.endpoint:
            return changed, None
        facts = Facts("api", *_who(request), changed=_names(command))
        try:
            await _commit(w, changed, endpoint_write(changed, held.item_version), "updated", facts)
        except WriteConflict:
            continue
        return changed, secret
    raise _busy()


async def delete_endpoint(w: Webhooks, endpoint_id: str, request: Request) -> Endpoint:
    """What was deleted. What is on its way to it is canceled when its turn comes. Raises NotFound."""
    for _ in range(CONFLICTS_MAX):
        held = await load_endpoint(w, request.tenant, endpoint_id)
        last = replace(held.endpoint, version=held.endpoint.version + 1, updated_at=w.clock.now(), enabled=False)
        write = Delete(endpoint_key(request.tenant, endpoint_id), held.item_version)
        try:
            await _commit(w, last, write, "deleted", Facts("api", *_who(request)))
        except WriteConflict:
            continue
        return last
    raise _busy()


async def disable_gone(w: Webhooks, held: HeldEndpoint) -> None:
    """The endpoint answered 410: it wants nothing any more. Safe to repeat; leaves an endpoint alone that has changed."""
    endpoint = replace(
        held.endpoint,
        enabled=False,
        disabled_reason="gone",
        version=held.endpoint.version + 1,
        updated_at=w.clock.now(),
    )
    for _ in range(CONFLICTS_MAX):
        try:
            await _commit(w, endpoint, endpoint_write(endpoint, held.item_version), "disabled", Facts("delivery"))
        except WriteConflict as conflict:
            if conflict.key == REVISION:
                continue
            return
        w.telemetry.warning("webhook_endpoint.disabled", endpoint_id=endpoint.id, tenant=endpoint.tenant)
        return


async def load_endpoint(w: Webhooks, tenant: str, endpoint_id: str) -> HeldEndpoint:
    """Raises NotFound, also for another tenant's endpoint."""
    item = (
        await w.store.get(endpoint_key(tenant, endpoint_id)) if ids.is_id(endpoint_id, ids.WEBHOOK_ENDPOINT) else None
    )
    if item is None:
        raise NotFound("no such webhook endpoint")
    return HeldEndpoint(decode_endpoint(item), item.version)


async def list_endpoints(w: Webhooks, tenant: str) -> list[Endpoint]:
    """All of them, newest first: there are never many."""
    page = await w.store.query(endpoints_partition(tenant), limit=2 * ENDPOINTS_MAX, newest_first=True)
    return [decode_endpoint(item) for item in page.items]


async def retry_delivery(w: Webhooks, delivery_id: str, request: Request) -> Delivery:
    """Have one more attempt made now, whatever became of it so far; a pending one does not wait any longer.

    Of a finished delivery the attempt is the only one: if it fails, the delivery is dead, or delivered if it ever arrived.
    It takes its place in the lane meanwhile. Raises NotFound, and Conflict when its endpoint is disabled or deleted, or it
    is being sent right now.
    """
    for _ in range(CONFLICTS_MAX):
        found = await find_delivery(w, request.tenant, delivery_id)
        delivery, version = await load_delivery(w, found)
        await _require_enabled(w, delivery)
        record, recorded = audit_event(
            w.ids,
            w.clock.now(),
            actor=request.actor,
            action="webhook_delivery.retry_requested",
            target=delivery_id,
            tenant=request.tenant,
        )
        asked = await _ask(w, delivery, version, writes=(record,), events=(recorded,))
        if asked is not None:
            w.telemetry.info(
                "webhook_delivery.retry_requested",
                delivery_id=asked.id,
                endpoint_id=asked.endpoint,
                aggregate=asked.aggregate,
                tenant=asked.tenant,
            )
            return asked
    raise _busy()


async def replay_delivery(w: Webhooks, found: Delivery, *, replay: str, status: DeliveryStatus | None) -> bool:
    """As `retry_delivery`, asked for by a replay, whose id is kept with it. False: this replay has asked for it before.

    It is in the audit trail as the replay, and not one by one. Raises NotFound, and Conflict also when it no longer has the
    status it was chosen by.
    """
    for _ in range(CONFLICTS_MAX):
        delivery, version = await load_delivery(w, found)
        if delivery.asked_by == replay:
            if delivery.is_open:
                # Whoever asked may have died before the message that brings it up.
                await w.queue.send(QUEUE, encode_turn(turn_of(delivery)))
            return False
        if status is not None and STATUS[delivery.state] != status:
            raise Conflict(f"it is {STATUS[delivery.state]} by now", code="delivery_changed")
        await _require_enabled(w, delivery)
        if await _ask(w, replace(delivery, asked_by=replay), version) is not None:
            return True
    raise _busy()


async def load_delivery(w: Webhooks, found: Delivery) -> tuple[Delivery, int]:
    """As it is now, with the version its next write expects. Raises NotFound."""
    item = await w.store.get(delivery_key(found.tenant, found.endpoint, found.aggregate, found.version))
    if item is None:
        raise NotFound("no such webhook delivery")
    return decode_delivery(item), item.version


async def _ask(
    w: Webhooks, delivery: Delivery, version: int, *, writes: Sequence[Write] = (), events: Sequence[Event] = ()
) -> Delivery | None:
    """One more attempt, now. None: it has changed meanwhile. Raises Conflict when it is being sent."""
    asked = replace(
        delivery,
        state=after(delivery.state, Trigger.REQUESTED),
        due_at=w.clock.now(),
        by_hand=delivery.by_hand or not delivery.is_open,
        tries=delivery.tries if delivery.is_open else 0,
        finished_at=None,
        reason="",
    )
    # Should this end between the commit and the message that brings the delivery up, this one does.
    await w.queue.send(QUEUE, encode_turn(turn_of(asked)), delay_s=RETRY_AT_THE_LATEST_S)
    try:
        await w.store.commit([delivery_write(asked, version), *writes], events)
    except WriteConflict:
        return None
    await w.queue.send(QUEUE, encode_turn(turn_of(asked)))
    return asked


async def _require_enabled(w: Webhooks, delivery: Delivery) -> None:
    item = await w.store.get(endpoint_key(delivery.tenant, delivery.endpoint))
    if item is None:
        raise Conflict("its endpoint is deleted", code="endpoint_deleted")
    if not decode_endpoint(item).enabled:
        raise Conflict("its endpoint is disabled", code="endpoint_disabled")


async def _commit(w: Webhooks, endpoint: Endpoint, write: Write, verb: str, facts: Facts) -> None:
    """The change, its event, its audit record, and the revision that tells caches.

    A conflict on the revision alone is worth repeating.
    """
    revision = await w.store.get(REVISION)
    now = w.clock.now()
    action = f"webhook_endpoint.{verb}"
    event = Event(
        id=w.ids.new(ids.EVENT),
        type=action,
        tenant=endpoint.tenant,
        aggregate=endpoint.id,
        version=endpoint.version,
        at=now,
        data=endpoint_data(endpoint),
        facts=encode_facts(facts),
    )
    record, recorded = audit_event(
        w.ids,
        now,
        actor=facts.actor or PLATFORM_ACTOR,
        action=action,
        target=endpoint.id,
        tenant=endpoint.tenant,
        detail={"url": endpoint.url, "enabled": endpoint.enabled, "changed": " ".join(facts.changed)},
    )
    bump = Put(REVISION, b"-", ABSENT if revision is None else revision.version)
    await w.store.commit([write, bump, record], [event, recorded])


def _changed(endpoint: Endpoint, command: UpdateEndpoint, stored: Secret | None, now: Millis) -> Endpoint:
    """`endpoint` itself if the command changes nothing. `stored` is a new secret."""
    changed = endpoint
    if command.url is not msgspec.UNSET:
        changed = replace(changed, url=command.url)
    if command.events is not msgspec.UNSET:
        changed = replace(changed, events=_ordered(command.events))
    if command.description is not msgspec.UNSET:
        changed = replace(changed, description=command.description)
    if command.enabled is not msgspec.UNSET and command.enabled != endpoint.enabled:
        reason = None if command.enabled else "by_merchant"
        changed = replace(changed, enabled=command.enabled, disabled_reason=reason, failing_since=None)
    if stored is not None:
        previous = replace(endpoint.secrets[0], valid_until=now + ROTATION_GRACE)
        changed = replace(changed, secrets=(SigningSecret(stored), previous))
    if changed == endpoint:
        return endpoint
    return replace(changed, version=endpoint.version + 1, updated_at=now)


def _names(command: UpdateEndpoint) -> tuple[str, ...]:
    given = [
        name for name in ("url", "events", "description", "enabled") if getattr(command, name) is not msgspec.UNSET
    ]
    return (*given, "secret") if command.rotate_secret else tuple(given)


def _check(w: Webhooks, *, url: str | None, events: Sequence[str] | None) -> None:
    faults: list[Fault] = []
    if url is not None:
        faults.extend(url_faults(url, allow_loopback=w.allow_loopback))
    for place, name in enumerate(events or ()):
        if name != ALL and name not in DELIVERABLE:
            faults.append(Fault(f"/events/{place}", "unknown_event_type", "there is no such event type"))
    if faults:
        raise Invalid(faults=tuple(faults))


def _ordered(events: Sequence[str]) -> tuple[str, ...]:
    return (ALL,) if ALL in events else tuple(sorted(set(events)))


def _who(request: Request) -> tuple[str, str]:
    return request.actor, request.id


def _busy() -> Unavailable:
    return Unavailable("others are changing this at the same time; repeat", retry_after_s=1)
