"""Replays over HTTP: previewed, asked for, approved by another client where that is needed, paused, continued, stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.bootstrap import Platform
from interlock.core.desk.bulk.model import REASON_MAX
from interlock.core.desk.replay.handlers import (
    ask_for_replay,
    continue_replay,
    decide_replay,
    pause_replay,
    stop_replay,
)
from interlock.core.desk.replay.model import RATE_MAX, RATE_USUAL, Preview, Replay, Wanted
from interlock.core.desk.replay.planning import plan
from interlock.core.desk.replay.records import REPLAY, list_replays, load_replay
from interlock.core.kernel.ids import id_pattern
from interlock.entrypoints.http.desk_route import APPROVE, WRITE, asker, reads, writes
from interlock.entrypoints.http.routing import Answer, Call, Route

REPLAY_PATH = {"id": id_pattern(REPLAY)}
LISTED = 100
DECISIONS = ("approve", "reject")
Act = Callable[..., Awaitable[Replay]]
ACTS: dict[str, tuple[str, str, Act]] = {
    "approve": (
        "approveReplay",
        "Approve a replay that another client asked for",
        partial(decide_replay, approve=True),
    ),
    "reject": ("rejectReplay", "Reject a replay: nothing is done", partial(decide_replay, approve=False)),
    "pause": ("pauseReplay", "Go no further for now", pause_replay),
    "continue": ("continueReplay", "Go on where it was paused", continue_replay),
    "stop": ("stopReplay", "Go no further for good: what was done stays done", stop_replay),
}


class ReplayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    wanted: Wanted
    rate: Annotated[int, Meta(ge=1, le=RATE_MAX)] = RATE_USUAL
    """Items a second."""


class AskForReplayBody(ReplayBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]


class ReplaysView(msgspec.Struct, frozen=True):
    data: list[Replay]


def replay_routes(platform: Platform) -> tuple[Route, ...]:
    replays, store = platform.desk.replays, platform.storage.store

    async def planned(call: Call) -> Answer:
        body: ReplayBody = call.body
        return Answer(200, await plan(replays, body.wanted, body.rate))

    async def ask(call: Call) -> Answer:
        body: AskForReplayBody = call.body
        made = await ask_for_replay(replays, body.wanted, rate=body.rate, reason=body.reason, by=asker(call))
        return Answer(201, made)

    async def every(call: Call) -> Answer:
        return Answer(200, ReplaysView(await list_replays(store, limit=LISTED)))

    async def one(call: Call) -> Answer:
        return Answer(200, (await load_replay(store, call.path_params["id"]))[0])

    return (
        writes(
            "/v1/desk/replays/plan",
            "planReplay",
            "What a replay would do, counted; nothing is done",
            planned,
            {200: Preview},
            body=ReplayBody,
            problems=(404, 503),
        ),
        writes(
            "/v1/desk/replays",
            "askForReplay",
            "Have it replayed: at once if it is small, else when another client has approved it",
            ask,
            {201: Replay},
            body=AskForReplayBody,
            problems=(404, 503),
        ),
        reads("/v1/desk/replays", "listReplays", "Replays, newest first", every, ReplaysView),
        reads(
            "/v1/desk/replays/{id}", "getReplay", "A replay and how far it is", one, Replay, path_patterns=REPLAY_PATH
        ),
        *_acts(platform),
    )


def _acts(platform: Platform) -> list[Route]:
    def acting(act: Act) -> Callable[[Call], Awaitable[Answer]]:
        async def endpoint(call: Call) -> Answer:
            return Answer(200, await act(platform.desk.replays, call.path_params["id"], by=asker(call)))

        return endpoint

    return [
        writes(
            f"/v1/desk/replays/{{id}}/{verb}",
            operation_id,
            summary,
            acting(act),
            {200: Replay},
            scope=APPROVE if verb in DECISIONS else WRITE,
            path_patterns=REPLAY_PATH,
            problems=(409, 503),
        )
        for verb, (operation_id, summary, act) in ACTS.items()
    ]
