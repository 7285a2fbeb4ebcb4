"""What a page that is open hears."""

from __future__ import annotations

import asyncio

from interlock.core.desk.operators.roles import Role
from interlock.entrypoints.console.live import LOOK_EVERY_S, Live
from tests.clocks import ManualClock
from tests.core.desk.desk_world import operator


async def test_what_changed_just_before_a_page_listens_is_told_once():
    clock, marks, sent = ManualClock(), {"payments": "1", "alerts": "1"}, []

    async def look() -> dict[str, str]:
        return dict(marks)

    async def send(message) -> None:
        sent.append(message.get("body", b"").decode())

    live = Live(look, clock)
    await live.look()
    clock.advance(LOOK_EVERY_S)
    marks["alerts"] = "2"  # the page was made a moment before this
    task = asyncio.create_task(live.stream(operator(role=Role.VIEWER), asyncio.Event().wait, send, ()))
    for _ in range(3):
        await clock.run_for(LOOK_EVERY_S)
    live.close()
    await clock.settle()
    await task
    assert "".join(sent).count("event: alerts") == 1
    assert "event: payments" not in "".join(sent)
