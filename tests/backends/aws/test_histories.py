"""Every event from the table itself: all of them, each once, each aggregate's in order, from any position."""

from __future__ import annotations

import pytest

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.histories import TableHistories
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.table import DRAWERS
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Put
from tests.backends.aws.test_drawers import OTHER, PAYMENT, event
from tests.clocks import ManualClock
from tests.contracts.on_aws import dynamo_stores


def histories_of(store: DynamoStore) -> TableHistories:
    calls: Calls = store._calls
    return TableHistories(calls, store._table)


async def filled(store: DynamoStore) -> None:
    for version in range(1, 10):
        await store.commit([Put(PAYMENT, b"v", version - 1), Put(OTHER, b"", version - 1)], [event(version, size=400)])
        await store.commit([], [event(version, aggregate="whe_1")])
    await store.commit([], [event(1, aggregate="pay_2"), event(2, aggregate="pay_2")])


async def walked(histories: TableHistories, limit: int) -> list[Event]:
    found, at = [], START
    while records := await histories.read(after=at, limit=limit):
        assert len(records) <= limit
        found += [record.event for record in records]
        at = records[-1].position
    return found


@pytest.mark.aws
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
async def test_every_event_comes_once_and_each_aggregates_in_order(aws: str, limit: int):
    async with dynamo_stores(aws, ManualClock(), drawers=DRAWERS) as (store, _, _):
        await filled(store)
        found = await walked(histories_of(store), limit)
        for aggregate, count in {"pay_1": 9, "whe_1": 9, "pay_2": 2}.items():
            assert [one.version for one in found if one.aggregate == aggregate] == list(range(1, count + 1))
        assert len(found) == 20
        assert [one for one in found if one.aggregate == "pay_1"] == await store.history("pay_1")


@pytest.mark.aws
async def test_each_position_leads_to_what_is_behind_it(aws: str):
    async with dynamo_stores(aws, ManualClock(), drawers=DRAWERS) as (store, _, _):
        await filled(store)
        histories = histories_of(store)
        records = await histories.read(after=START, limit=1_000)
        for place, record in enumerate(records):
            behind = await histories.read(after=record.position, limit=1_000)
            assert [one.event for one in behind] == [one.event for one in records[place + 1 :]]
        assert not await histories.wait(after=records[-1].position, timeout_s=0)
        assert await histories.wait(after=START, timeout_s=0)


@pytest.mark.aws
async def test_position_that_is_none_is_invalid(aws: str):
    async with dynamo_stores(aws, ManualClock()) as (store, _, _):
        with pytest.raises(Invalid):
            await histories_of(store).read(after="somewhere")
