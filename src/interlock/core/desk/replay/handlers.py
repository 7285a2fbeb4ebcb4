"""Asking for a replay, deciding about it, pausing and stopping it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from interlock.core.desk.bulk.handlers import audit_of, decided, faults_of_reason, moved, stopped
from interlock.core.desk.bulk.states import Move, Stage
from interlock.core.desk.operators.identities import may_be_the_same
from interlock.core.desk.replay.model import ALONE_MAX, ALONE_WITHIN, Replay, Wanted
from interlock.core.desk.replay.planning import plan
from interlock.core.desk.replay.ports import Replays
from interlock.core.desk.replay.records import REPLAY, head_write, list_replays, load_replay
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Fault, Invalid, Unavailable, WriteConflict

LOOKED_BACK = 500
"""So many of the newest replays are looked at for what one person has begun alone."""
CONFLICTS_MAX = 8


async def ask_for_replay(r: Replays, wanted: Wanted, *, rate: int, reason: str, by: str) -> Replay:
    """Count what fits, and have it replayed: at once if it is small, else when somebody else has approved it. Raises Invalid."""
    faults = faults_of_reason(reason)
    if faults:
        raise Invalid(faults=tuple(faults))
    planned = await plan(r, wanted, rate)
    if not planned.items:
        raise Invalid(faults=(Fault("/wanted", "nothing_fits", "nothing fits that"),))
    now = r.clock.now()
    alone = not planned.needs_approval and planned.items + await _begun_alone(r, by, now) <= ALONE_MAX
    replay = Replay(
        id=r.ids.new(REPLAY),
        reason=reason.strip(),
        requested_by=by,
        requested_at=now,
        items=planned.items,
        stage=Stage.APPROVED if alone else Stage.WAITING,
        wanted=planned.wanted,
        rate=rate,
        complete=planned.complete,
        due_at=now,
    )
    detail: dict[str, str | int | bool | None] = {
        "kind": wanted.kind,
        "items": replay.items,
        "rate": rate,
        "reason": replay.reason,
        "needs_approval": not alone,
    }
    put, event = audit_of(r.ids, now, replay, by, "requested", detail)
    await r.store.commit([head_write(replay), put], [event])
    return replay


async def decide_replay(r: Replays, replay_id: str, *, by: str, approve: bool) -> Replay:
    """Approve or reject it. Raises Forbidden for the approval of who asked for it, Conflict when it is decided already."""
    verb = "approved" if approve else "rejected"
    return await _changed(r, replay_id, by, verb, lambda head, now: decided(head, by=by, approve=approve, now=now))


async def pause_replay(r: Replays, replay_id: str, *, by: str) -> Replay:
    """It goes no further until somebody continues it. Raises Conflict when it is not being carried out."""
    return await _changed(r, replay_id, by, "paused", lambda head, now: moved(head, Move.PAUSE, now))


async def continue_replay(r: Replays, replay_id: str, *, by: str) -> Replay:
    """It goes on where it was. Raises Conflict when it is not paused."""

    def on(head: Replay, now: Millis) -> Replay:
        return replace(moved(head, Move.CONTINUE, now), tries=0, note="")

    return await _changed(r, replay_id, by, "continued", on)


async def stop_replay(r: Replays, replay_id: str, *, by: str) -> Replay:
    """No further turn is begun. Safe to repeat. Raises Conflict when it is over."""
    return await _changed(r, replay_id, by, "stopped", stopped)


async def _changed(
    r: Replays, replay_id: str, by: str, verb: str, change: Callable[[Replay, Millis], Replay]
) -> Replay:
    """A worker may write between reading and writing: then it is decided again."""
    for _ in range(CONFLICTS_MAX):
        head, version = await load_replay(r.store, replay_id)
        now = r.clock.now()
        after = change(head, now)
        if after is head:
            return head
        put, event = audit_of(
            r.ids, now, after, by, verb, {"kind": head.wanted.kind, "items": head.items, "left": head.left}
        )
        try:
            await r.store.commit([head_write(after, version), put], [event])
        except WriteConflict:
            continue
        return after
    raise Unavailable("this replay changes all the time; try again")


async def _begun_alone(r: Replays, by: str, now: Millis) -> int:
    """Items of replays that this person had begun without anybody's approval, of late."""
    return sum(
        one.items
        for one in await list_replays(r.store, limit=LOOKED_BACK)
        if may_be_the_same(one.requested_by, by)
        and not one.decided_by
        and one.stage is not Stage.WAITING
        and now - one.requested_at < ALONE_WITHIN
    )
