"""`interlock desk replay`: webhooks, events and dead letters once more, from the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from interlock.bootstrap import Platform
from interlock.core.desk.replay.handlers import (
    ask_for_replay,
    continue_replay,
    decide_replay,
    pause_replay,
    stop_replay,
)
from interlock.core.desk.replay.model import RATE_MAX, RATE_USUAL, Group, Kind, Preview, Replay, Wanted
from interlock.core.desk.replay.planning import plan
from interlock.core.desk.replay.records import list_replays, load_replay
from interlock.core.kernel.clock import Millis, parse_rfc3339, rfc3339
from interlock.core.kernel.errors import Invalid
from interlock.core.webhooks.states import DeliveryStatus
from interlock.entrypoints.cli.options import Data, Json, err, fail, out
from interlock.entrypoints.cli.stored import ACTOR, with_stored

replay = typer.Typer(
    no_args_is_help=True, help="Webhooks, events or dead letters once more; the worker carries it out."
)
Name = Annotated[str, typer.Argument(metavar="REPLAY")]


@replay.command("new")
def new(
    kind: Kind,
    reason: Annotated[str | None, typer.Option(help="Why. Without it: only what would be done, counted.")] = None,
    rate: Annotated[int, typer.Option(min=1, max=RATE_MAX, help="So many a second.")] = RATE_USUAL,
    since: Annotated[str | None, typer.Option("--from", help="RFC 3339: what happened from then on.")] = None,
    before: Annotated[str | None, typer.Option(help="RFC 3339: and before then.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only of this payment.")] = None,
    type: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Webhooks to this endpoint.")] = None,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Webhooks of this status.")] = None,
    group: Annotated[Group | None, typer.Option(help="Who is told events.")] = None,
    queue: Annotated[str | None, typer.Option(help="Whose dead letters.")] = None,
    text: Annotated[str, typer.Option(help="Dead letters that hold this.")] = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say what a replay would do; with --reason, ask for it: a small one begins at once, others when somebody else approves."""
    wanted = Wanted(
        kind=kind,
        merchant=merchant,
        payment=payment,
        type=type,
        since=_time(since),
        before=_time(before),
        endpoint=endpoint,
        status=status,
        group=group,
        queue=queue,
        text=text,
    )

    async def work(platform: Platform) -> Preview | Replay | tuple[str, ...]:
        replays = platform.desk.replays
        try:
            if reason is None:
                return await plan(replays, wanted, rate)
            return await ask_for_replay(replays, wanted, rate=rate, reason=reason, by=ACTOR)
        except Invalid as error:
            return tuple(fault.detail for fault in error.faults)

    made = with_stored(data, work)
    if isinstance(made, tuple):
        fail("\n".join(made))
    if as_json:
        out.print_json(msgspec.json.encode(made).decode())
    elif isinstance(made, Replay):
        _show(made)
    else:
        _say(made)


@replay.command("list")
def list_them(data: Data = None, as_json: Json = False) -> None:
    """Replays, newest first."""

    async def work(platform: Platform) -> list[Replay]:
        return await list_replays(platform.storage.store)

    found = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
        return
    table = Table("replay", "what", "stage", "of", "done", "skipped", "failed", "asked by", "reason", box=None)
    for one in found:
        counts = map(str, (one.items, one.done, one.skipped, one.failed))
        table.add_row(one.id, one.wanted.kind, one.stage, *counts, one.requested_by, one.reason)
    out.print(table)


@replay.command("show")
def show(replay_id: Name, data: Data = None, as_json: Json = False) -> None:
    """How far a replay is."""

    async def work(platform: Platform) -> Replay:
        return (await load_replay(platform.storage.store, replay_id))[0]

    found = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
    else:
        _show(found)


@replay.command("approve")
def approve(replay_id: Name, data: Data = None) -> None:
    """Approve what somebody else asked for, which is nobody at this command line."""
    _change(replay_id, data, partial(decide_replay, approve=True))


@replay.command("reject")
def reject(replay_id: Name, data: Data = None) -> None:
    """Reject it: nothing is done."""
    _change(replay_id, data, partial(decide_replay, approve=False))


@replay.command("pause")
def pause(replay_id: Name, data: Data = None) -> None:
    """Go no further for now."""
    _change(replay_id, data, pause_replay)


@replay.command("continue")
def go_on(replay_id: Name, data: Data = None) -> None:
    """Go on where it was paused."""
    _change(replay_id, data, continue_replay)


@replay.command("stop")
def stop(replay_id: Name, data: Data = None) -> None:
    """Go no further for good. What was done stays done."""
    _change(replay_id, data, stop_replay)


def _change(replay_id: str, data: Data, change: Callable[..., Awaitable[Replay]]) -> None:
    async def work(platform: Platform) -> Replay:
        return await change(platform.desk.replays, replay_id, by=ACTOR)

    _show(with_stored(data, work))


def _say(planned: Preview) -> None:
    out.print(f"{planned.items} would be replayed, in {planned.seconds} s at least. {planned.would}", markup=False)
    if not planned.complete:
        out.print("More fit than one replay takes. These come first.")
    if planned.needs_approval:
        out.print("Somebody else must approve it.")
    for warning in planned.warnings:
        err.print(warning, markup=False)
    table = Table("id", "at", "type", "merchant", "payment", "endpoint", "status", box=None)
    for one in planned.first:
        table.add_row(one.id, rfc3339(one.at), one.type, one.merchant, one.payment, one.endpoint, one.status)
    out.print(table)


def _show(one: Replay) -> None:
    out.print(f"{one.id}  {one.wanted.kind}  {one.stage}", markup=False)
    out.print(f"{one.items} in all, {one.done} done, {one.skipped} skipped, {one.failed} failed, {one.left} left")
    if one.note:
        out.print(f"it paused by itself: {one.note}", markup=False)
    for reason, number in one.reasons.items():
        out.print(f"{number}: {reason}", markup=False)


def _time(text: str | None) -> Millis:
    if text is None:
        return 0
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        err.print(f"no time: {error}", markup=False)
        raise typer.Exit(2) from None
