"""Carrying replays out, a turn at a time, by whoever comes.

A turn takes the replay under a lease, does a few items behind its cursor, and writes cursor and counts down. When the next turn
may begin is written with the lease, before anything is done: so the rate holds whoever comes, and whoever dies. What a turn that
died had done is done again by the next one, and is harmless: a delivery knows which replay asked for it, a consumer group changes
nothing for an event it has had, a letter that is back in its queue is no dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.desk.bulk.handlers import audit_of, moved
from interlock.core.desk.bulk.records import approved
from interlock.core.desk.bulk.states import Move, Stage
from interlock.core.desk.replay.choosing import Fit, Page, Thing, next_page
from interlock.core.desk.replay.model import REASONS_MAX, REMARKS_MAX, Group, Kind, Remark, Replay
from interlock.core.desk.replay.ports import Replays, Tell
from interlock.core.desk.replay.records import head_write, load_replay
from interlock.core.kernel.clock import DAY, SECOND, Millis
from interlock.core.kernel.errors import OutcomeUnknown, Rejected, Unavailable, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.webhooks.handlers import replay_delivery
from interlock.core.webhooks.model import KEPT, Delivery

TURNS_A_SECOND = 4
"""So that stopping acts at once, and what follows comes evenly."""
TRIES_MAX = 5
"""Turns in a row that came to nothing: then it pauses, and somebody looks."""
PAUSE: Millis = 5 * SECOND
CONFLICTS_MAX = 8
OTHER = "other"
TOLD_WITHIN: Millis = KEPT - DAY
"""A delivery is forgotten KEPT after it was finished; an older event would make a new one and be sent again."""


class Ran(NamedTuple):
    items: int
    next_at: Millis | None
    """When there is more to do; None: nothing is being carried out."""


class Outcome(NamedTuple):
    """What became of an item; `detail` is empty when it was done."""

    id: str
    """Empty where it is not known which one it was."""
    detail: str = ""
    failed: bool = False


async def run_replays(r: Replays, tell: Tell) -> Ran:
    """One turn of each replay that is due and nobody else is at. Safe to run anywhere, any number of times."""
    items, dues = 0, []
    for replay_id in await approved(r.store, Replay.NOUN):
        ran = await run_turn(r, replay_id, tell)
        items += ran.items
        dues += [ran.next_at] if ran.next_at is not None else []
    return Ran(items, min(dues, default=None))


async def run_turn(r: Replays, replay_id: str, tell: Tell) -> Ran:
    """Do the next few items of a replay, unless somebody else is at it, or it is not due."""
    head, version = await load_replay(r.store, replay_id)
    now = r.clock.now()
    if head.stage is not Stage.APPROVED:
        return Ran(0, None)
    if (next_at := max(head.due_at, head.lease_until)) > now:
        return Ran(0, next_at)
    if head.tries >= TRIES_MAX:
        await _pause(r, head, version)
        return Ran(0, None)
    limit = min(max(1, head.rate // TURNS_A_SECOND), head.left)
    held = replace(head, lease_until=now + r.lease, due_at=now + _worth(limit, head.rate), tries=head.tries + 1)
    try:
        await r.store.commit([head_write(held, version)])
    except WriteConflict:
        return Ran(0, now)  # somebody else is at it, or has stopped it
    nothing = Page([], head.cursor, 0, ended=True)
    page = await next_page(r, head.wanted, head.cursor, limit=limit) if limit > 0 else nothing
    outcomes, behind = await _do(r, held, page.fits, tell)
    whole = len(outcomes) == len(page.fits)
    if whole:
        # What was only looked at costs nothing of the rate.
        due_at, cursor = now + _worth(len(page.fits), head.rate), page.cursor
    else:
        due_at, cursor = r.clock.now() + PAUSE, behind or head.cursor
    after = _counted(replace(held, cursor=cursor, due_at=due_at, lease_until=0), outcomes)
    if outcomes or whole:
        after = replace(after, tries=0)
    await _write_down(r, held, after, version + 1, ended=whole and (page.ended or after.left <= 0))
    return Ran(len(outcomes), due_at)


def _worth(items: int, rate: int) -> Millis:
    """How long so many items last at that rate."""
    return -(-items * SECOND // rate)


async def _do(r: Replays, head: Replay, fits: Sequence[Fit], tell: Tell) -> tuple[list[Outcome], str]:
    """What became of the items that had their turn, and the cursor behind them; fewer than `fits` if it cannot go on now."""
    if head.wanted.kind is Kind.EVENTS:
        return await _tell(r, head, fits, tell)
    if head.wanted.kind is Kind.DEAD_LETTERS:
        return await _put_back(r, head, fits)
    outcomes: list[Outcome] = []
    behind = ""
    for fit in fits:
        try:
            outcomes.append(await _send_again(r, head, fit.thing))
        except (Unavailable, OutcomeUnknown):
            break  # nothing is known to be wrong with it: later
        behind = fit.cursor
    return outcomes, behind


async def _send_again(r: Replays, head: Replay, thing: Thing) -> Outcome:
    assert isinstance(thing, Delivery)
    try:
        await replay_delivery(r.webhooks, thing, replay=head.id, status=head.wanted.status)
    except Rejected as error:
        return Outcome(thing.id, error.detail)
    return Outcome(thing.id)


async def _put_back(r: Replays, head: Replay, fits: Sequence[Fit]) -> tuple[list[Outcome], str]:
    """All of them at once: where dead letters stand in a queue of their own, each look at it costs a reading of the whole."""
    assert head.wanted.queue is not None
    if not fits:
        return [], ""
    try:
        there = await r.queue.redrive(head.wanted.queue, [fit.thing.id for fit in fits])
    except (Unavailable, OutcomeUnknown):
        return [], ""
    gone = "it was no dead letter any more"
    outcomes = [Outcome(fit.thing.id) if number < there else Outcome("", gone) for number, fit in enumerate(fits)]
    return outcomes, fits[-1].cursor


async def _tell(r: Replays, head: Replay, fits: Sequence[Fit], tell: Tell) -> tuple[list[Outcome], str]:
    """All of them at once; if the group refuses that, one by one, so that it is known which."""
    assert head.wanted.group is not None
    hears = tell[head.wanted.group]
    known_since = r.clock.now() - TOLD_WITHIN if head.wanted.group is Group.WEBHOOKS else 0
    events = [fit.thing for fit in fits if isinstance(fit.thing, Event) and fit.thing.at >= known_since]
    refused: dict[str, str] = {}
    try:
        if events:
            await hears(events)
    except Rejected:
        for event in events:
            try:
                await hears([event])
            except Rejected as error:
                refused[event.id] = error.detail
            except (Unavailable, OutcomeUnknown):
                return [], ""
    except (Unavailable, OutcomeUnknown):
        return [], ""
    told = {event.id for event in events}
    return [_heard(fit.thing.id, told, refused) for fit in fits], fits[-1].cursor if fits else ""


def _heard(id: str, told: set[str], refused: Mapping[str, str]) -> Outcome:
    if id not in told:
        return Outcome(id, "it is older than deliveries are kept: it might be sent again")
    return Outcome(id, refused[id], failed=True) if id in refused else Outcome(id)


def _counted(head: Replay, outcomes: Sequence[Outcome]) -> Replay:
    reasons, remarks = dict(head.reasons), list(head.remarks)
    for one in outcomes:
        if one.detail:
            name = one.detail if one.detail in reasons or len(reasons) < REASONS_MAX else OTHER
            reasons[name[:200]] = reasons.get(name[:200], 0) + 1
            if one.id:
                remarks.append(Remark(one.id, one.detail[:200]))
    failed = sum(one.failed for one in outcomes)
    done = sum(not one.detail for one in outcomes)
    return replace(
        head,
        done=head.done + done,
        failed=head.failed + failed,
        skipped=head.skipped + len(outcomes) - done - failed,
        reasons=reasons,
        remarks=tuple(remarks[:REMARKS_MAX]),
    )


async def _write_down(r: Replays, held: Replay, after: Replay, version: int, *, ended: bool) -> None:
    """Whoever paused or stopped it meanwhile keeps the last word; what was done is counted all the same."""
    for _ in range(CONFLICTS_MAX):
        now = r.clock.now()
        writes, events = [head_write(after, version)], []
        if ended and after.stage is Stage.APPROVED:
            over = moved(after, Move.END, now)
            counts = {"done": over.done, "skipped": over.skipped, "failed": over.failed}
            put, event = audit_of(r.ids, now, over, "platform", "done", counts)
            writes, events = [head_write(over, version), put], [event]
        try:
            await r.store.commit(writes, events)
        except WriteConflict:
            latest, version = await load_replay(r.store, after.id)
            if (latest.cursor, latest.lease_until) != (held.cursor, held.lease_until):
                return  # our lease had ended, and somebody else has taken over: they count
            after = replace(
                after,
                stage=latest.stage,
                finished_at=latest.finished_at,
                decided_by=latest.decided_by,
                note=latest.note,
            )
        else:
            return


async def _pause(r: Replays, head: Replay, version: int) -> None:
    now = r.clock.now()
    note = f"{TRIES_MAX} turns in a row came to nothing"
    paused = replace(moved(head, Move.PAUSE, now), note=note, lease_until=0)
    put, event = audit_of(r.ids, now, paused, "platform", "paused", {"why": note})
    await r.store.commit([head_write(paused, version), put], [event])
