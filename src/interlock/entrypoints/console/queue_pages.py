"""Queues and what could not be handled: looked at, searched, and given another chance."""

from __future__ import annotations

from typing import NamedTuple

from interlock.bootstrap import queue_names
from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.replay.choosing import text_of
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.kernel.queue import DeadLetter, Queue
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went

SHOWN = 50
LOOKED_AT = 1_000
"""Letters that one page looks at: `Further` leads behind them."""
AT_ONCE_MAX = 500


class Scan(NamedTuple):
    """Letters behind a cursor, as far as one page looks."""

    fitting: list[DeadLetter]
    looked_at: int
    next: str | None
    """The cursor of the next page."""

    @property
    def at_once(self) -> list[DeadLetter]:
        return self.fitting[:AT_ONCE_MAX]


def queue_pages(desk: Desk) -> list[Page]:
    queue = desk.platform.storage.queue

    async def every(asked: Asked) -> Reply:
        rows = [(name, await queue.depth(name)) for name in queue_names(desk.platform)]
        return Shown("queues.html", {"title": "Queues", "rows": rows})

    async def one(asked: Asked) -> Reply:
        name, text, after = _known(asked), asked.query.get("q", ""), asked.query.get("after", "")
        scan = await _scan(queue, name, text, after)
        context = {
            "title": name,
            "name": name,
            "depth": await queue.depth(name),
            "letters": [(letter, text_of(letter)) for letter in scan.fitting[:SHOWN]],
            "number": len(scan.at_once),
            "last": scan.at_once[-1].id if scan.at_once else "",
            "whole": not after and scan.looked_at < LOOKED_AT and len(scan.fitting) <= AT_ONCE_MAX,
            "looked_at": scan.looked_at,
            "text": text,
            "after": after,
            "next": scan.next,
        }
        return Shown("queue.html", context)

    async def redrive(asked: Asked) -> Reply:
        name, text = _known(asked), asked.form.get("q", "")
        chosen = asked.form.get("letters", "").split()[:AT_ONCE_MAX]
        if not chosen:
            scan = await _scan(queue, name, text, asked.form.get("after", ""))
            last = asked.form.get("last", "")
            # Those that the page counted, and none that died since.
            chosen = [letter.id for letter in scan.at_once if not last or letter.id <= last]
        if not chosen:
            raise Invalid(faults=(Fault("/form/letters", "required", "no dead letter fits"),))
        # Before it is done: a crash may leave a record of what did not happen, and never the other way round.
        put, event = audit_event(
            desk.operators.ids,
            asked.now,
            actor=asked.me.session.operator,
            action="queue.redriven",
            target=name,
            tenant=PLATFORM,
            detail={"count": len(chosen), "filter": text[:100], "first": chosen[0][:100], "last": chosen[-1][:100]},
        )
        await desk.platform.storage.store.commit([put], [event])
        count = await queue.redrive(name, chosen)
        return Went(f"{ROOT}/queues/{name}", f"{count} given another chance.")

    def _known(asked: Asked) -> str:
        if asked.params["queue"] not in queue_names(desk.platform):
            raise NotFound("no such queue")
        return asked.params["queue"]

    return [
        Page("GET", "/queues", every, Permission.SEE),
        Page("GET", "/queues/{queue}", one, Permission.SEE),
        Page("POST", "/queues/{queue}/redrive", redrive, Permission.REDRIVE),
    ]


async def _scan(queue: Queue, name: str, text: str, after: str) -> Scan:
    letters = await queue.dead_letters(name, limit=LOOKED_AT, after=after)
    fitting = [letter for letter in letters if text in text_of(letter)]
    following = None
    if len(fitting) > SHOWN:
        following = fitting[SHOWN - 1].id
    elif len(letters) == LOOKED_AT:
        following = letters[-1].id
    return Scan(fitting, len(letters), following)
