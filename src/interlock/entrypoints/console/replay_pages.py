"""Replays: preview, ask, approve, watch, pause, continue, stop."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from interlock.bootstrap import queue_names
from interlock.core.desk.explain.search import merchants
from interlock.core.desk.operators.identities import is_client, may_be_the_same
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.replay.handlers import (
    ask_for_replay,
    continue_replay,
    decide_replay,
    pause_replay,
    stop_replay,
)
from interlock.core.desk.replay.model import ALONE_MAX, RATE_MAX, RATE_USUAL, Group, Kind, Preview, Replay, Wanted
from interlock.core.desk.replay.planning import FIELDS, WOULD, plan
from interlock.core.desk.replay.records import list_replays, load_replay
from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.webhooks.states import DeliveryStatus
from interlock.entrypoints.console.asking import time_of
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import CHOICES_MAX, ROOT, Asked, Page, Reply, Shown, Went

SHOWN = 50
MALFORMED = {
    "payment": "this is no id of a payment",
    "endpoint": "this is no id of an endpoint",
    "type": "this is no type of an event",
    "queue": "there is no such queue",
}
"""What people read of a field that could not be one."""


def replay_pages(desk: Desk) -> list[Page]:
    replays, storage = desk.platform.desk.replays, desk.platform.storage

    async def every(asked: Asked) -> Reply:
        found = await list_replays(storage.store, limit=SHOWN + 1, after=asked.query.get("after"))
        following = found[SHOWN - 1].id if len(found) > SHOWN else None
        return Shown("replays.html", {"title": "Replays", "replays": found[:SHOWN], "next": following})

    async def preview(asked: Asked) -> Reply:
        kind = _kind_of(asked)
        planned: Preview | None = None
        faults: tuple[Fault, ...] = ()
        if "rate" in asked.query:
            try:
                planned = await plan(replays, _wanted_of(asked, kind), _number(asked.query["rate"]))
            except NotFound as error:
                faults = (Fault("/query/payment", "unknown", error.detail),)
            except Invalid as error:
                faults = error.faults
        context = {
            "title": "New replay",
            "kind": kind,
            "kinds": list(Kind),
            "fields": FIELDS[kind],
            "groups": {one: WOULD[one] for one in Group},
            "merchants": await merchants(storage.documents, limit=CHOICES_MAX),
            "queues": queue_names(desk.platform),
            "statuses": get_args(DeliveryStatus),
            "query": asked.query,
            "rate": asked.query.get("rate", str(RATE_USUAL)),
            "rate_max": RATE_MAX,
            "alone_max": ALONE_MAX,
            "planned": planned,
            "wanted": msgspec.json.encode(planned.wanted).decode() if planned else "",
            "facts": facts_of(planned.wanted) if planned else {},
            "faults": faults,
        }
        return Shown("replay_new.html", context, 400 if faults else 200)

    async def ask(asked: Asked) -> Reply:
        try:
            wanted = msgspec.json.decode(asked.form.get("wanted", ""), type=Wanted)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise Invalid(faults=(Fault("/form/wanted", "malformed", "begin with a preview"),)) from None
        rate, reason = _number(asked.form.get("rate", "")), asked.form.get("reason", "")
        made = await ask_for_replay(replays, wanted, rate=rate, reason=reason, by=asked.me.session.operator)
        said = "Asked for. Somebody else approves it." if made.stage == "waiting" else "It begins within seconds."
        return Went(f"{ROOT}/replays/{made.id}", said)

    async def one(asked: Asked) -> Reply:
        replay, _ = await load_replay(storage.store, asked.params["replay"])
        context = {"title": "Replay", "replay": replay, **_progress(replay), "own": _is_own(replay, asked)}
        context["of_client"] = is_client(replay.requested_by)
        return Shown("parts/replay_live.html" if asked.is_fragment else "replay.html", context)

    return [
        Page("GET", "/replays", every, Permission.SEE),
        Page("GET", "/replays/new", preview, Permission.ASK_FOR_REPLAY),
        Page("POST", "/replays", ask, Permission.ASK_FOR_REPLAY),
        Page("GET", "/replays/{replay}", one, Permission.SEE),
        *_acts(desk),
    ]


def _acts(desk: Desk) -> list[Page]:
    replays = desk.platform.desk.replays

    def _went(asked: Asked, said: str) -> Went:
        return Went(f"{ROOT}/replays/{asked.params['replay']}", said)

    async def approve(asked: Asked) -> Reply:
        await decide_replay(replays, asked.params["replay"], by=asked.me.session.operator, approve=True)
        return _went(asked, "Approved. It begins within seconds.")

    async def reject(asked: Asked) -> Reply:
        await decide_replay(replays, asked.params["replay"], by=asked.me.session.operator, approve=False)
        return _went(asked, "Rejected. Nothing was done.")

    async def pause(asked: Asked) -> Reply:
        await pause_replay(replays, asked.params["replay"], by=asked.me.session.operator)
        return _went(asked, "Paused. What was done stays done.")

    async def go_on(asked: Asked) -> Reply:
        await continue_replay(replays, asked.params["replay"], by=asked.me.session.operator)
        return _went(asked, "It goes on where it was.")

    async def stop(asked: Asked) -> Reply:
        await stop_replay(replays, asked.params["replay"], by=asked.me.session.operator)
        return _went(asked, "Stopped. What was done stays done.")

    return [
        Page("POST", "/replays/{replay}/approve", approve, Permission.APPROVE_REPLAY),
        Page("POST", "/replays/{replay}/reject", reject, Permission.APPROVE_REPLAY),
        Page("POST", "/replays/{replay}/pause", pause, Permission.ASK_FOR_REPLAY),
        Page("POST", "/replays/{replay}/continue", go_on, Permission.ASK_FOR_REPLAY),
        Page("POST", "/replays/{replay}/stop", stop, Permission.ASK_FOR_REPLAY),
    ]


def _kind_of(asked: Asked) -> Kind:
    text = asked.query.get("kind", Kind.WEBHOOKS)
    return Kind(text) if text in list(Kind) else Kind.WEBHOOKS


def _wanted_of(asked: Asked, kind: Kind) -> Wanted:
    """What the form says. Raises Invalid."""
    named = {name: asked.query[name] for name in FIELDS[kind] if name in asked.query}
    since, before = time_of(asked.query.get("from"), 0, "from"), time_of(asked.query.get("before"), 0, "before")
    try:
        return msgspec.convert({"kind": kind, "since": since, "before": before, **named}, type=Wanted)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`")
        raise Invalid(faults=(Fault(f"/query/{field}", "malformed", MALFORMED.get(field, str(error))),)) from None


def _number(text: str) -> int:
    """Raises Invalid."""
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise Invalid(faults=(Fault("/form/rate", "bad_number", f"the rate is 1 to {RATE_MAX} a second"),))
    return int(text)


def facts_of(wanted: Wanted) -> dict[str, str]:
    """What is chosen, as people read it."""
    named = {name: getattr(wanted, name) for name in (*FIELDS[wanted.kind],)}
    times = {"from": _time(wanted.since), "before": _time(wanted.before)}
    return {"what": wanted.kind.value, **{name: str(value) for name, value in sorted(named.items()) if value}, **times}


def _time(at: Millis) -> str:
    return rfc3339(at)[:19].replace("T", " ") if at else "the beginning"


def _progress(replay: Replay) -> dict[str, Any]:
    over = replay.items - max(replay.left, 0)
    return {"facts": facts_of(replay.wanted), "over": over, "percent": over * 100 // max(replay.items, 1)}


def _is_own(replay: Replay, asked: Asked) -> bool:
    return may_be_the_same(replay.requested_by, asked.me.session.operator)
