"""Verified tokens are remembered, but not beyond what is true: expiry, disabled clients, dropped keys, less scope."""

import asyncio
import json

import msgspec
import pytest

from interlock.core.access.commands import DisableClient, IssueToken, RotateSigningKey
from interlock.core.access.handlers import disable_client, issue_token, rotate_signing_key
from interlock.core.access.rates import RateLimit
from interlock.core.access.records import client_write, find_client
from interlock.core.kernel.errors import Forbidden, StoreUnavailable, Unauthenticated
from tests.core.access.world import make_world


async def token_for(world, **changes):
    made = await world.client(**changes)
    issued = await issue_token(world.access, made.client, IssueToken(made.client.id))
    return made.client, issued.token


def count_reads(world):
    """How often a signature is checked, and how often the store is asked."""
    counted = {"signatures": 0, "store": 0}
    read, get = world.access.tokens.read, world.store.get

    async def counting_read(token):
        counted["signatures"] += 1
        return await read(token)

    async def counting_get(key):
        counted["store"] += 1
        return await get(key)

    world.access.tokens.read, world.store.get = counting_read, counting_get
    return counted


async def refusal(world, token):
    with pytest.raises(Unauthenticated) as refused:
        await world.callers.verify(token)
    return refused.value.reason


async def test_token_is_verified_once_and_its_client_looked_at_every_few_seconds():
    world = await make_world()
    _, token = await token_for(world)
    counted = count_reads(world)
    for _ in range(10):
        await world.callers.verify(token)
    assert counted == {"signatures": 1, "store": 1}
    world.clock.advance(5)
    for _ in range(10):
        await world.callers.verify(token)
    assert counted == {"signatures": 1, "store": 2}


async def test_token_ends_when_it_expires_also_when_it_is_remembered():
    world = await make_world()
    _, token = await token_for(world)
    await world.callers.verify(token)
    world.clock.advance(900 + 29.9)
    await world.callers.verify(token)
    world.clock.advance(0.1)
    assert await refusal(world, token) == "token_expired"
    assert await refusal(world, token) == "token_expired"


async def test_disabled_client_ends_its_tokens_within_seconds():
    world = await make_world()
    client, token = await token_for(world)
    await world.callers.verify(token)
    await disable_client(world.access, DisableClient(client.id), actor="ops")
    world.clock.advance(5)
    assert await refusal(world, token) == "client_disabled"
    assert await refusal(world, token) == "client_disabled"


async def test_rotated_key_leaves_older_tokens_valid_and_a_dropped_one_ends_them():
    world = await make_world()
    client, old = await token_for(world)
    await rotate_signing_key(world.access, RotateSigningKey(delay=0), actor="ops")
    world.clock.advance(31)
    new = (await issue_token(world.access, client, IssueToken(client.id))).token
    assert len(json.loads(await world.oauth.jwks())["keys"]) == 2
    for token in (old, new):
        assert (await world.callers.verify(token)).client_id == client.id
    await rotate_signing_key(world.access, RotateSigningKey(drop_previous=True), actor="ops")
    world.clock.advance(31)
    for token in (old, new):
        assert await refusal(world, token) == "token_key"
    assert len(json.loads(await world.oauth.jwks())["keys"]) == 1
    newest = (await issue_token(world.access, client, IssueToken(client.id))).token
    assert (await world.callers.verify(newest)).client_id == client.id


async def test_token_signed_by_another_process_with_a_key_just_rotated_in_is_accepted():
    world = await make_world()
    client, old = await token_for(world)
    await world.callers.verify(old)
    other = await make_world()
    other.access = other.access._replace(secrets=world.secrets)
    other.access.tokens._own._secrets = world.secrets
    await rotate_signing_key(other.access, RotateSigningKey(delay=0), actor="ops")
    other.access.tokens._own._read_at = None
    token = (await issue_token(other.access, client, IssueToken(client.id))).token
    world.clock.advance(1)
    assert (await world.callers.verify(token)).client_id == client.id


async def test_scopes_taken_from_the_client_are_taken_from_its_tokens():
    world = await make_world()
    client, token = await token_for(world)
    held = await find_client(world.store, client.id)
    less = msgspec.structs.replace(client, scopes=("payments:read",))
    await world.store.commit([client_write(less, expected=held.version)])
    assert (await world.callers.verify(token)).scopes == {"payments:read"}


async def test_token_of_a_client_that_moved_to_another_tenant_is_refused():
    world = await make_world()
    client, token = await token_for(world)
    held = await find_client(world.store, client.id)
    moved = msgspec.structs.replace(client, tenant="ten_b")
    await world.store.commit([client_write(moved, expected=held.version)])
    assert await refusal(world, token) == "client_unknown"


async def test_client_that_is_not_in_the_store_is_refused():
    world = await make_world()
    client, _ = await token_for(world)
    other = await make_world()
    other.access.tokens._own._secrets = world.secrets
    other.access.tokens._own._read_at = None
    token = (await issue_token(world.access, client, IssueToken(client.id))).token
    assert await refusal(other, token) == "client_unknown"


async def test_store_that_cannot_answer_is_no_verdict_on_the_token():
    world = await make_world()
    _, token = await token_for(world)
    await world.callers.verify(token)
    get = world.store.get

    async def unavailable(key):
        raise StoreUnavailable("locked")

    world.store.get = unavailable
    world.clock.advance(5)
    with pytest.raises(StoreUnavailable):
        await world.callers.verify(token)
    world.store.get = get
    await world.callers.verify(token)


async def test_memory_is_bounded_and_what_was_used_last_is_kept():
    world = await make_world(tokens_max=3)
    tokens = [(await token_for(world))[1] for _ in range(4)]
    counted = count_reads(world)
    for token in (*tokens[:3], tokens[0], tokens[3], tokens[0]):
        await world.callers.verify(token)
    assert counted["signatures"] == 4
    assert len(world.callers._known) == 3
    await world.callers.verify(tokens[1])
    assert counted["signatures"] == 5


async def test_refused_tokens_are_not_remembered():
    world = await make_world()
    for n in range(10):
        assert await refusal(world, f"a.b.{n}") == "token_malformed"
    assert len(world.callers._known) == 0


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER "])
async def test_scheme_is_read_without_case(scheme):
    world = await make_world()
    client, token = await token_for(world)
    assert (await world.callers.authenticate(scheme + token)).client_id == client.id


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Token x", "x" * 100_000])
async def test_header_without_a_bearer_token_is_refused(header):
    world = await make_world()
    with pytest.raises(Unauthenticated):
        await world.callers.authenticate(header)


async def test_client_with_a_rate_of_its_own_is_held_to_it():
    world = await make_world()
    client, token = await token_for(world, rate_per_s=1.0, rate_burst=2)
    assert (await world.callers.verify(token)).rate == RateLimit(1.0, 2)
    assert [world.callers.take(client.id).allowed for _ in range(3)] == [True, True, False]
    assert world.callers.take("cli_other").limit == 200


async def test_many_at_once_after_the_recheck_time_check_no_signature_again():
    world = await make_world()
    _, token = await token_for(world)
    await world.callers.verify(token)
    world.clock.advance(6)
    counted = count_reads(world)
    await asyncio.gather(*(world.callers.verify(token) for _ in range(20)))
    assert counted["signatures"] == 0


async def test_scope_the_client_lost_cannot_be_asked_for():
    world = await make_world()
    made = await world.client(scopes=("payments:read",))
    with pytest.raises(Forbidden) as refused:
        await issue_token(world.access, made.client, IssueToken(made.client.id, "payments:write"))
    assert refused.value.reason == "invalid_scope"
