"""Engine, adapter and simulated provider together, in one thread and virtual time: what core hears of each token."""

import asyncio

import pytest

from interlock.core.kernel.providers import Outcome
from interlock.providers.engine import ProviderConfig, ProviderEngine
from interlock.providers.simulator import SimulatorProvider
from tests.clocks import ManualClock
from tests.providers.simulator.harness import API_KEY, SIGNING, instance, lookup_of, operation, plan
from tests.providers.simulator.in_process import InProcessTransport
from tests.telemetry import RecordingTelemetry


class Setting:
    def __init__(self, **faults):
        self.clock = ManualClock()
        self.told = []
        self.instances = {name: instance(self.clock, name=name) for name in ("simulator_a", "simulator_b")}
        for one in self.instances.values():
            one.api_key = API_KEY
            one.set_plan(plan(**faults))
        self.engine = ProviderEngine(
            {name: (SimulatorProvider(name), self._config(name)) for name in self.instances},
            clock=self.clock,
            telemetry=RecordingTelemetry(),
            transport=InProcessTransport(self.instances, self.clock, self._tell),
        )

    def _config(self, name):
        credentials = {"api_key": API_KEY, "signing_secret": SIGNING[0]}
        return ProviderConfig(name=name, base_url="http://127.0.0.1:1", credentials=credentials, read_timeout_s=10.0)

    async def _tell(self, notice):
        self.told.append(notice)

    async def call(self, op, provider="simulator_a", **fields):
        task = asyncio.create_task(self.engine.call(provider, op, **fields))
        await self.clock.run_for(30)
        return await task


@pytest.mark.parametrize(
    ("token", "outcome", "alarms"),
    [
        ("tok_approve", Outcome.APPROVED, ()),
        ("tok_decline_stolen", Outcome.DECLINED, ()),
        ("tok_3ds", Outcome.REQUIRES_ACTION, ()),
        ("tok_pending", Outcome.PENDING, ()),
        ("tok_timeout_after_accept", Outcome.UNKNOWN, ()),
        ("tok_timeout_before_accept", Outcome.UNKNOWN, ()),
        ("tok_connect_refused", Outcome.NOT_SENT, ()),
        ("tok_error_though_charged", Outcome.UNKNOWN, ()),
        ("tok_garbage", Outcome.UNKNOWN, ()),
        ("tok_wrong_amount", Outcome.UNKNOWN, ("amount_mismatch",)),
        ("tok_rate_limited", Outcome.NOT_SENT, ()),
        ("tok_late_approval", Outcome.DECLINED, ()),
    ],
)
async def test_token_as_core_hears_it(token, outcome, alarms):
    setting = Setting()
    report = await setting.call(operation(token=token, capture=True))
    assert (report.result.outcome, report.alarms) == (outcome, alarms)
    assert all(token not in f"{exchange.url}{exchange.request}{exchange.reply}" for exchange in report.exchanges)


@pytest.mark.parametrize(
    "fault", ["wrong_currency", "wrong_reference", "truncated", "stalled", "huge", "endless", "wrong_amount"]
)
async def test_fault_after_acceptance_is_unknown_and_found_by_looking(fault):
    setting = Setting(operations={"charge": {fault: 1}})
    op = operation(capture=True)
    assert (await setting.call(op)).result.outcome is Outcome.UNKNOWN
    found = (await setting.call(lookup_of(op))).result
    assert (found.outcome, found.captured, found.amount) == (Outcome.APPROVED, True, op.amount)


async def test_refused_connection_is_not_sent_and_the_other_instance_works():
    setting = Setting()
    setting.instances["simulator_a"].set_plan(plan(outages=[{"mode": "connect_refused"}]))
    op = operation()
    assert (await setting.call(op)).result.outcome is Outcome.NOT_SENT
    assert not setting.instances["simulator_a"].books.requested
    assert (await setting.call(op, "simulator_b")).result.outcome is Outcome.APPROVED


async def test_hang_takes_as_long_as_our_patience_in_virtual_time():
    setting = Setting()
    started = setting.clock.monotonic()
    task = asyncio.create_task(setting.engine.call("simulator_a", operation(token="tok_timeout_after_accept")))
    await setting.clock.run_for(9.99)
    assert not task.done()
    await setting.clock.run_for(0.02)
    assert task.done() and setting.clock.monotonic() - started == pytest.approx(10.01)
    await task
