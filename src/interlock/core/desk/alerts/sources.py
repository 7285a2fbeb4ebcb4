"""The tools that may send alerts: made, listed, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.access.credentials import new_secret
from interlock.core.access.model import ClientSecret
from interlock.core.desk.alerts.commands import CreateAlertSource
from interlock.core.desk.alerts.model import AlertFormat, Source, SourceProof
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.records import SOURCES, decode_source, source_key, source_write
from interlock.core.kernel.errors import Conflict, Fault, Invalid, NotFound, WriteConflict
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.secrets import Secret
from interlock.core.kernel.store import ABSENT, Delete

SOURCES_MAX = 100
_TOKEN = (SourceProof.BEARER, SourceProof.BASIC)
PROOFS: Mapping[AlertFormat, tuple[SourceProof, ...]] = {
    AlertFormat.ALERTMANAGER: _TOKEN,
    AlertFormat.CLOUDWATCH: (SourceProof.SNS,),
    AlertFormat.DATADOG: _TOKEN,
    AlertFormat.GENERIC: (*_TOKEN, SourceProof.HMAC),
    AlertFormat.GRAFANA: (*_TOKEN, SourceProof.HMAC),
    AlertFormat.PAGERDUTY: (SourceProof.ROUTING_KEY, *_TOKEN),
    AlertFormat.SLACK: _TOKEN,
}
"""What each tool is able to send. None goes without: who can open alerts can keep people from seeing the real ones."""


class HeldSource(NamedTuple):
    source: Source
    item_version: int


async def create_source(d: AlertDesk, command: CreateAlertSource, request: Request) -> tuple[Source, Secret | None]:
    """The source, and its token, which is never shown again; None for one that Amazon SNS signs for.

    Raises Invalid for a proof that the format does not allow, Conflict if the id is taken or there are too many.
    """
    _check(command)
    if len(await list_sources(d)) >= SOURCES_MAX:
        raise Conflict(f"there are {SOURCES_MAX} sources already", code="too_many_sources")
    now = d.clock.now()
    token: Secret | None = None
    digest: ClientSecret | None = None
    stored: Secret | None = None
    if command.proof is SourceProof.HMAC:
        token, _ = new_secret(d.token_bytes, now)
        stored = await d.safe.put_in(token, tenant=PLATFORM, endpoint=command.id)
    elif command.proof is not SourceProof.SNS:
        token, digest = new_secret(d.token_bytes, now)
    source = Source(command.id, command.name, command.format, command.proof, 1, now, digest, stored, command.topic_arn)
    record, recorded = audit_event(
        d.ids,
        now,
        actor=request.actor,
        action="alert_source.created",
        target=source.id,
        tenant=PLATFORM,
        detail={"format": source.format, "proof": source.proof, "topic_arn": source.topic_arn},
    )
    try:
        await d.store.commit([source_write(source, ABSENT), record], [recorded])
    except WriteConflict:
        raise Conflict("there is a source with this id", code="source_exists") from None
    return source, token


async def delete_source(d: AlertDesk, source_id: str, request: Request) -> None:
    """From now on nothing that comes from it is taken; its alerts stay as they are. Raises NotFound."""
    held = await load_source(d, source_id)
    record, recorded = audit_event(
        d.ids, d.clock.now(), actor=request.actor, action="alert_source.deleted", target=source_id, tenant=PLATFORM
    )
    await d.store.commit([Delete(source_key(source_id), held.item_version), record], [recorded])


async def load_source(d: AlertDesk, source_id: str) -> HeldSource:
    """Raises NotFound."""
    item = await d.store.get(source_key(source_id))
    if item is None:
        raise NotFound("no such alert source")
    return HeldSource(decode_source(item), item.version)


async def list_sources(d: AlertDesk) -> list[Source]:
    """All of them, by id: there are never many."""
    page = await d.store.query(SOURCES, limit=2 * SOURCES_MAX)
    return [decode_source(item) for item in page.items]


def _check(command: CreateAlertSource) -> None:
    faults: list[Fault] = []
    allowed = PROOFS[command.format]
    if command.proof not in allowed:
        faults.append(Fault("/proof", "not_allowed", f"{command.format} is proved by {' or '.join(allowed)}"))
    if command.proof is SourceProof.SNS and command.topic_arn is None:
        faults.append(Fault("/topic_arn", "required", "the topic that is believed is needed"))
    if command.proof is not SourceProof.SNS and command.topic_arn is not None:
        faults.append(Fault("/topic_arn", "not_allowed", "a topic belongs to a source that is proved by sns"))
    if faults:
        raise Invalid(faults=tuple(faults))
