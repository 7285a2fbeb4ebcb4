"""Dead letters put back by a filter."""

from __future__ import annotations

from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.replay.handlers import stop_replay
from interlock.core.desk.replay.model import Kind, Wanted
from interlock.core.desk.replay.planning import plan
from tests.core.desk.desk_world import DeskWorld
from tests.core.desk.replay.replaying import asked, carried_out, turn

QUEUE = "notifications"


async def buried(number: int) -> DeskWorld:
    """So many letters that were given up, half of them from one provider and half from another."""
    world = DeskWorld()
    for count in range(number):
        await world.queue.send(QUEUE, b'{"from":"%s"}' % (b"a" if count % 2 else b"b"))
    for _ in range(30):
        for message in await world.queue.receive(QUEUE, limit=100):
            await world.queue.release(QUEUE, message.receipt)
    assert (await world.queue.depth(QUEUE)).dead == number
    return world


async def test_letters_that_fit_are_put_back_no_faster_than_was_asked():
    world = await buried(20)
    replay = await asked(world, Kind.DEAD_LETTERS, queue=QUEUE, text='"from": "a"', rate=4)
    assert (replay.items, replay.stage) == (10, Stage.APPROVED)
    assert await turn(world) == 1
    assert await turn(world) == 0
    ended = await carried_out(world, replay)
    depth = await world.queue.depth(QUEUE)
    assert (ended.done, ended.left, depth.dead, depth.ready) == (10, 0, 10, 10)
    assert {letter.body for letter in await world.queue.dead_letters(QUEUE)} == {b'{"from":"b"}'}


async def test_letter_that_dies_again_is_not_put_back_twice():
    world = await buried(2)
    replay = await asked(world, Kind.DEAD_LETTERS, queue=QUEUE, rate=1)
    await turn(world)
    world.clock.advance(0.5)
    for _ in range(30):
        for message in await world.queue.receive(QUEUE, limit=10):
            await world.queue.release(QUEUE, message.receipt)
    ended = await carried_out(world, replay)
    assert ended.done == 2
    assert (await world.queue.depth(QUEUE)).dead == 1


async def test_time_narrows_and_preview_changes_nothing():
    world = await buried(4)
    world.clock.advance(10)
    now = world.clock.now()
    some = await plan(world.replays, Wanted(kind=Kind.DEAD_LETTERS, queue=QUEUE, before=now), 10)
    none = await plan(world.replays, Wanted(kind=Kind.DEAD_LETTERS, queue=QUEUE, since=now - 1, before=now), 10)
    assert (some.items, none.items, (await world.queue.depth(QUEUE)).dead) == (4, 0, 4)
    assert not some.needs_approval


async def test_stopped_one_leaves_the_rest_dead():
    world = await buried(8)
    replay = await asked(world, Kind.DEAD_LETTERS, queue=QUEUE, rate=4)
    await turn(world)
    await stop_replay(world.replays, replay.id, by="ada")
    world.clock.advance(60)
    assert await turn(world) == 0
    assert (await world.queue.depth(QUEUE)).dead == 7


async def test_letter_that_somebody_else_put_back_is_left_over():
    world = await buried(3)
    replay = await asked(world, Kind.DEAD_LETTERS, queue=QUEUE)
    letters = await world.queue.dead_letters(QUEUE)
    await world.queue.redrive(QUEUE, [letters[1].id])
    ended = await carried_out(world, replay)
    assert (ended.stage, ended.done, ended.left) == (Stage.DONE, 2, 1)
