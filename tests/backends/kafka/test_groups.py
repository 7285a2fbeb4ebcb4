"""Groups at a real broker in real time: rebalances, members that are killed, fenced, or sleep too long."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interlock.backends.kafka.bus import KafkaSubscription
from interlock.backends.kafka.config import KafkaConfig
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.errors import Invalid
from tests.backends.kafka.conftest import NewBus

pytestmark = [pytest.mark.aws, pytest.mark.timeout(600), pytest.mark.xdist_group("kafka")]
GROUP = "webhooks"


def spread(count: int, *, first: int = 0, keys: int = 20) -> list[BusMessage]:
    return [BusMessage(f"evt_{n:06d}", f"pay_{n % keys}", f"value {n}".encode()) for n in range(first, first + count)]


def ids(records: list[BusRecord]) -> list[str]:
    return [record.message.id for record in records]


async def receive(subscription: KafkaSubscription, count: int, *, within_s: float = 30.0) -> list[BusRecord]:
    """That many, or as many as come in time."""
    records: list[BusRecord] = []
    until = time.monotonic() + within_s
    while len(records) < count and (left := until - time.monotonic()) > 0:
        records += await subscription.receive(limit=count - len(records), wait_s=left)
    return records


@contextmanager
def doomed(config: KafkaConfig, member: str, *, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.backends.kafka.doomed_member"]
    process = subprocess.Popen(
        [*command, config.bootstrap_servers, config.prefix, member, str(lease_s)],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'src'}", "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


async def test_member_that_joins_mid_batch_takes_over_after_the_commit_and_nothing_is_lost_or_out_of_order(
    new_bus: NewBus,
):
    bus, other = await new_bus(), await new_bus()
    await bus.publish("events", spread(100))
    first = await bus.subscribe("events", group=GROUP, member="a")
    held = await receive(first, 100)
    second = await other.subscribe("events", group=GROUP, member="b")
    assert await second.receive(wait_s=3.0) == []
    done = defaultdict(list)
    for record in held:
        done[record.message.key].append(record.message.id)
    await first.commit(held)
    await bus.publish("events", spread(100, first=100))
    theirs = await second.receive(wait_s=20.0)
    assert theirs
    mine = await receive(first, 100, within_s=1.0)
    theirs += await receive(second, 100 - len(theirs) - len(mine), within_s=5.0)
    assert sorted(ids(held + mine + theirs)) == [f"evt_{n:06d}" for n in range(200)]
    assert not {record.partition for record in mine} & {record.partition for record in theirs}
    for record in sorted(mine + theirs, key=lambda record: record.offset):
        done[record.message.key].append(record.message.id)
    assert all(seen == sorted(seen) for seen in done.values())
    # What the second holds is lost to the first, whatever it says.
    before = await bus.lag("events", group=GROUP)
    await first.commit(theirs)
    assert await bus.lag("events", group=GROUP) == before == 100


async def test_process_killed_loses_nothing_and_its_successor_of_that_name_has_it_at_once(
    config: KafkaConfig, new_bus: NewBus
):
    bus = await new_bus(lease_s=60.0)
    await bus.publish("events", spread(30))
    with doomed(config, "a", lease_s=60.0) as process:
        assert sorted(said(process, 30)) == ids_of(30)
        process.kill()
        process.wait()
    started = time.monotonic()
    successor = await bus.subscribe("events", group=GROUP, member="a")
    records = await receive(successor, 30)
    assert sorted(ids(records)) == ids_of(30)
    assert time.monotonic() - started < 20, "before the session of the one killed could end"
    await successor.commit(records)
    assert await bus.lag("events", group=GROUP) == 0


async def test_process_killed_is_succeeded_by_the_others_once_its_session_ends(config: KafkaConfig, new_bus: NewBus):
    bus = await new_bus(lease_s=6.0)
    await bus.publish("events", spread(30))
    with doomed(config, "a", lease_s=6.0) as process:
        said(process, 30)
        other = await bus.subscribe("events", group=GROUP, member="b")
        assert await other.receive(wait_s=1.0) == []
        process.kill()
        process.wait()
    assert sorted(ids(await receive(other, 30))) == ids_of(30)


async def test_process_that_slept_through_its_session_does_not_take_its_name_back(config: KafkaConfig, new_bus: NewBus):
    bus = await new_bus(lease_s=6.0)
    await bus.publish("events", spread(30))
    with doomed(config, "a", lease_s=6.0) as process:
        said(process, 30)
        other = await bus.subscribe("events", group=GROUP, member="b")
        process.send_signal(signal.SIGSTOP)
        # All it held has gone to the other: its session has ended.
        records = await receive(other, 30)
        assert sorted(ids(records)) == ids_of(30)
        await other.commit(records)
        await other.close()
        successor = await bus.subscribe("events", group=GROUP, member="a")
        await bus.publish("events", spread(30, first=30))
        await successor.commit(await receive(successor, 30))
        process.send_signal(signal.SIGCONT)
        assert await successor.receive(wait_s=8.0) == []
        assert not successor.standing().replaced
        await bus.publish("events", spread(30, first=60))
        assert len(await receive(successor, 30)) == 30


async def test_fenced_member_hears_of_it_and_neither_receives_nor_commits(new_bus: NewBus):
    bus, other = await new_bus(), await new_bus()
    await bus.publish("events", spread(20))
    old = await bus.subscribe("events", group=GROUP, member="a")
    held = await receive(old, 20)
    new = await other.subscribe("events", group=GROUP, member="a")
    again = await receive(new, 20)
    assert sorted(ids(again)) == sorted(ids(held))
    await old.commit(held)
    assert await bus.lag("events", group=GROUP) == 20
    assert await old.receive(wait_s=10.0) == []
    assert old.standing().replaced
    await new.commit(again)
    assert await bus.lag("events", group=GROUP) == 0


async def test_topic_that_is_not_there_is_invalid_and_says_what_to_do(new_bus: NewBus):
    bus = await new_bus()
    for call in (
        bus.publish("none", spread(1)),
        bus.subscribe("none", group=GROUP, member="a"),
        bus.lag("none", group=GROUP),
    ):
        with pytest.raises(Invalid, match="create it"):
            await call


async def test_more_than_can_be_counted_is_a_lag_all_the_same(new_bus: NewBus):
    bus = await new_bus()
    await bus.publish("events", spread(6_000))
    assert 6_000 <= await bus.lag("events", group=GROUP) <= 6_008


def ids_of(count: int) -> list[str]:
    return [f"evt_{n:06d}" for n in range(count)]
