"""Deciding about bulk work: pure functions from its head to its next one, and the record of each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.bulk.model import REASON_MAX, Bulk
from interlock.core.desk.bulk.states import OPEN, TRANSITIONS, Move, Stage
from interlock.core.desk.operators.identities import is_client, may_be_the_same
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Conflict, Fault, Forbidden
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Put

B = TypeVar("B", bound=Bulk)


def faults_of_reason(reason: str) -> list[Fault]:
    if 1 <= len(reason.strip()) <= REASON_MAX:
        return []
    return [Fault("/reason", "required", "say why: it is what the approver reads")]


def moved(head: B, move: Move, now: Millis) -> B:
    """Raises Conflict when its stage has no such move."""
    stage = TRANSITIONS.get((head.stage, move))
    if stage is None:
        # Spelled out, so that the list of errors has them.
        raise Conflict(
            f"this {head.NOUN} is {head.stage} already",
            code="repair_decided" if head.NOUN == "repair" else "replay_decided",
        )
    return replace(head, stage=stage, finished_at=0 if stage in OPEN else now)


def decided(head: B, *, by: str, approve: bool, now: Millis) -> B:
    """Raises Forbidden for the approval of who asked for it, Conflict when it is decided already.

    People approve what people asked for, and clients what clients did: nobody here knows whose hand a client is.
    """
    if approve and is_client(by) != is_client(head.requested_by):
        kind = "client" if is_client(head.requested_by) else "person"
        raise Forbidden(f"a {kind} asked for this {head.NOUN}, and another {kind} approves it", code="other_kind")
    if approve and may_be_the_same(by, head.requested_by):
        raise Forbidden(f"a {head.NOUN} is approved by somebody else than who asked for it", code="own_request")
    return replace(moved(head, Move.APPROVE if approve else Move.REJECT, now), decided_by=by, decided_at=now)


def stopped(head: B, now: Millis) -> B:
    """Safe to repeat. Raises Conflict when it is over."""
    return head if head.stage is Stage.STOPPED else moved(head, Move.STOP, now)


def audit_of(
    ids: Ids, now: Millis, head: Bulk, by: str, verb: str, detail: Mapping[str, str | int | bool | None]
) -> tuple[Put, Event]:
    return audit_event(ids, now, actor=by, action=f"{head.NOUN}.{verb}", target=head.id, tenant=PLATFORM, detail=detail)
