"""What a function does that is called by the minute, where no worker runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from interlock.core.desk.alerts.records import BY_STATE
from interlock.core.desk.alerts.rules import AlertRule, SilenceAction
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.replay.ports import Replays
from interlock.core.desk.slo.counting import CountedAttempts
from interlock.core.desk.slo.ports import Objectives
from interlock.core.kernel.clock import SECOND
from interlock.entrypoints.functions import Function
from tests.core.desk.alerts.world import World as Alerts
from tests.core.desk.alerts.world import signal
from tests.scenarios.world import World


def test_tending_the_desk_opens_every_alert_whose_silence_is_over():
    function, alerts = Function({}), Alerts()
    do = function.loop().run_until_complete
    until = datetime.fromtimestamp(alerts.clock.now() // SECOND, UTC) + timedelta(minutes=1)
    do(alerts.rules(AlertRule("quiet", SilenceAction(until))))
    for number in range(201):
        do(alerts.fire(signal(f"f{number}")))
    alerts.clock.advance(60)
    world = World()
    node, documents = world.node, world.documents
    function._platform = SimpleNamespace(  # type: ignore[assignment]
        desk=SimpleNamespace(
            alerts=alerts.d,
            repairs=Repairs(node.payments, node.webhooks, documents),
            objectives=Objectives(
                world.store, world.clock, world.ids, world.telemetry, CountedAttempts(documents, documents)
            ),
            replays=Replays(world.store, world.clock, world.ids, documents, node.webhooks, world.queue, (), world.feed),
            tallies=documents,
            past=documents,
        ),
        webhooks=node.webhooks,
        storage=SimpleNamespace(clock=world.clock, telemetry=SimpleNamespace(flush=lambda: None)),
        close=_nothing,
    )
    try:
        assert function.tend_desk(seconds=0) == 0
        assert {one.state for one in do(alerts.alerts())} == {"open"}
        assert do(alerts.memory.query_index(BY_STATE, "~desk/alerts/silenced", limit=1)).items == []
    finally:
        function.close()


async def _nothing() -> None:
    return None
