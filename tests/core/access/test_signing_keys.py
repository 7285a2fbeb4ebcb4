"""One key signs, the next is announced, previous ones serve until their tokens have expired."""

import pytest

from interlock.core.access.commands import RotateSigningKey
from interlock.core.access.handlers import ensure_signing_key, rotate_signing_key
from interlock.core.access.signing_keys import (
    SECRET_NAME,
    SigningKey,
    active_key,
    load_keys,
    needed_keys,
    next_key,
    with_new_key,
)
from interlock.core.kernel.clock import MINUTE, SECOND
from interlock.core.kernel.errors import Conflict, Invalid, WriteConflict
from tests.core.access.world import make_world

T = 1_800_000_000_000
LIFETIME = 15 * MINUTE
KEPT = LIFETIME + 30 * SECOND + 2 * MINUTE


def key(name, signs_from, created_at=None):
    return SigningKey(name, "{}", created_at if created_at is not None else signs_from, signs_from)


def names(keys):
    return [one.id for one in keys]


def test_no_keys_means_no_active_key():
    assert active_key((), T) is None
    assert next_key((), T) is None
    assert needed_keys((), T) == ()


def test_announced_key_takes_over_at_its_time_and_the_old_one_stays_until_its_tokens_are_gone():
    old, new = key("old", T), key("new", T + 10 * MINUTE, T)
    keys = with_new_key((old,), new)
    takes_over = T + 10 * MINUTE
    for at, active, waiting, published in [
        (T, "old", "new", ["new", "old"]),
        (takes_over - 1, "old", "new", ["new", "old"]),
        (takes_over, "new", None, ["new", "old"]),
        (takes_over + KEPT - 1, "new", None, ["new", "old"]),
        (takes_over + KEPT, "new", None, ["new"]),
    ]:
        assert active_key(keys, at).id == active
        assert (next_key(keys, at).id if next_key(keys, at) else None) == waiting
        assert names(needed_keys(keys, at)) == published


def test_keys_no_longer_needed_are_dropped_by_the_next_rotation():
    keys = with_new_key((key("b", T), key("a", T - 60 * MINUTE)), key("c", T + 30 * MINUTE))
    assert names(keys) == ["c", "b"]


def test_dropping_the_previous_leaves_only_the_fresh_key():
    assert names(with_new_key((key("b", T), key("a", T)), key("c", T), drop_previous=True)) == ["c"]


async def test_first_start_makes_one_key_and_later_starts_none():
    world = await make_world()
    first = await load_keys(world.secrets)
    await ensure_signing_key(world.access)
    assert await load_keys(world.secrets) == first
    assert len(first) == 1
    assert active_key(first, world.clock.now()) == first[0]


async def test_rotation_announces_the_key_and_records_who_did_it():
    world = await make_world()
    fresh = await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")
    keys = await load_keys(world.secrets)
    assert keys[0] == fresh
    assert fresh.signs_from == world.clock.now() + 10 * MINUTE
    event = world.store._events[-1]
    assert event.type == "audit.recorded"
    assert b'"signing_key.rotated"' in bytes(event.facts)
    assert b'"ops"' in bytes(event.facts)
    assert b'"d"' not in bytes(event.facts)


async def test_second_rotation_waits_until_the_announced_key_signs():
    world = await make_world()
    await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")
    before = await load_keys(world.secrets)
    with pytest.raises(Conflict) as refused:
        await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")
    assert refused.value.reason == "rotation_under_way"
    assert await load_keys(world.secrets) == before
    world.clock.advance(600)
    await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")


async def test_seen_key_is_replaced_at_once_even_while_another_is_announced():
    world = await make_world()
    await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")
    fresh = await rotate_signing_key(world.access, RotateSigningKey(drop_previous=True), actor="ops")
    assert await load_keys(world.secrets) == (fresh,)
    assert fresh.signs_from == world.clock.now()


async def test_rotation_that_lost_against_another_says_so():
    world = await make_world()
    kept = await world.secrets.get(SECRET_NAME)
    put = world.secrets.put

    async def overwritten(name, values):
        await put(name, values)
        await put(name, kept)

    world.secrets.put = overwritten
    with pytest.raises(WriteConflict):
        await rotate_signing_key(world.access, RotateSigningKey(), actor="ops")


async def test_delay_out_of_bounds_is_refused():
    world = await make_world()
    with pytest.raises(Invalid):
        await rotate_signing_key(world.access, RotateSigningKey(delay=-1), actor="ops")


async def test_private_key_shows_in_no_repr():
    world = await make_world()
    (one,) = await load_keys(world.secrets)
    assert '"d"' in one.jwk
    assert "jwk" not in repr(one)
    assert one.jwk not in repr(await world.secrets.get(SECRET_NAME))
