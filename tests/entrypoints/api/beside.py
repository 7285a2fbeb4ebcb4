"""The platform and simulated providers beside each other in the test's own loop, over real sockets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from interlock.config import ProviderSettings
from interlock.core.kernel.secrets import Secret
from interlock.entrypoints import worker
from interlock.simulator import control
from interlock.simulator.faults import FaultPlan
from interlock.simulator.server import InstanceSettings, Simulator, SimulatorSettings
from tests.running import RunningPlatform, running

DRAIN_S = 0.1
"""Loops that only wait are interrupted after this at the end of a test."""
API_KEY = "sim_key_from_the_test"
CARD = {"type": "card", "token": "tok_approve"}


class Beside(NamedTuple):
    node: RunningPlatform
    simulator: Simulator

    def plan(self, provider: str, **plan: Any) -> None:
        """What is to go wrong there from now on."""
        instance = self.simulator.instances[provider]
        instance.set_plan(FaultPlan(**plan))
        self.simulator.settle(instance)

    def charges(self, payment_id: str) -> list[dict[str, Any]]:
        """Everything any provider holds for a payment."""
        return [
            {**charge, "provider": name}
            for name, instance in self.simulator.instances.items()
            for charge in control.books_of(instance)["charges"]
            if charge["payment_id"] == payment_id
        ]

    async def ask_whole(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, token: str | None = None, **more: str
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and body: JSON where it is JSON, else text."""
        node = self.node
        node.token = node.token or await node.log_in()
        headers = {"Authorization": f"Bearer {token or node.token}", **more} | ({"Idempotency-Key": key} if key else {})
        async with node.session.request(method, f"{node.base_url}{path}", json=body, headers=headers) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            shown = await answer.json() if "json" in answer.content_type else await answer.text()
            return answer.status, found, shown

    async def metric(self, name: str, **labels: str) -> float:
        """Sum of the series of a metric that have these labels."""
        _, _, text = await self.ask_whole("GET", "/metrics")
        total = 0.0
        for found in re.finditer(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
            if all(f'{label}="{value}"' in (found[1] or "") for label, value in labels.items()):
                total += float(found[2])
        return total


@asynccontextmanager
async def beside(data: Path, *providers: str, read_timeout_s: float = 0.5, **settings: Any) -> AsyncIterator[Beside]:
    """Providers that are given up on after `read_timeout_s`; what is unknown is looked up two seconds later."""
    instances = tuple(InstanceSettings(name, api_key=Secret(API_KEY)) for name in providers or ("simulator",))
    simulator = Simulator(SimulatorSettings(instances))
    await simulator.start()
    try:
        urls = simulator.base_urls
        configured = [
            ProviderSettings(
                one.name, "simulator", urls[one.name], read_timeout_s=read_timeout_s, total_timeout_s=2 * read_timeout_s
            )
            for one in instances
        ]
        credentials = [(one.name, "api_key", API_KEY) for one in instances]
        settings.setdefault("attempt_deadline_s", 5 * read_timeout_s)
        with patch.object(worker, "DRAIN_S", DRAIN_S):
            async with running(data, providers=configured, credentials=credentials, **settings) as node:
                yield Beside(node, simulator)
    finally:
        await simulator.close()
