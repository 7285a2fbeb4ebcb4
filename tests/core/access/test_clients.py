"""Clients: made, listed, given new secrets, disabled; each change with its audit record in the same commit."""

import pytest

from interlock.core.access.audit import list_audit
from interlock.core.access.commands import DisableClient, RotateClientSecret
from interlock.core.access.handlers import disable_client, rotate_client_secret
from interlock.core.access.rates import RateLimit
from interlock.core.access.records import find_client, list_clients, load_client
from interlock.core.kernel.errors import Conflict, Invalid, NotFound
from interlock.core.kernel.ids import is_id
from tests.core.access.world import OPERATOR, TENANT, items_of, make_world


async def audited(world):
    page = await list_audit(world.store, tenant=TENANT, day="2027-01-15")
    return [(one.actor, one.action, one.target) for one in page.records]


async def test_created_client_has_expanded_scopes_and_a_secret_that_is_not_stored():
    world = await make_world()
    made = await world.client(rate_per_s=5.0, rate_burst=10, api_version="2026-12-01")
    held = await find_client(world.store, made.client.id)
    assert held.client == made.client
    assert is_id(made.client.id, "cli")
    assert made.client.scopes == ("payments:read", "payments:write", "refunds:write")
    assert (made.client.rate, made.client.api_version) == (RateLimit(5.0, 10), "2026-12-01")
    secret = made.secret.reveal()
    assert secret not in repr(made)
    for item in world.store._items.values():
        assert secret.encode() not in item.value
    for event in world.store._events:
        assert secret.encode() not in bytes(event.facts) + bytes(event.data)
    assert await audited(world) == [(OPERATOR, "client.created", made.client.id)]


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": ("payments:all",)},
        {"scopes": ()},
        {"scopes": ("*",)},
        {"tenant": ""},
        {"tenant": "ten_a/b"},
        {"tenant": "ten_a\n"},
        {"tenant": "~platform"},
        {"name": ""},
        {"name": "x" * 201},
        {"api_version": "latest"},
        {"rate_per_s": 5.0},
        {"rate_burst": 5},
        {"rate_per_s": 0.0, "rate_burst": 5},
        {"public_keys": "{}"},
        {"public_keys": '{"keys": []}'},
        {"public_keys": "not json"},
    ],
)
async def test_unfit_client_is_refused_and_nothing_is_written(changes):
    world = await make_world()
    before = items_of(world.store)
    with pytest.raises(Invalid):
        await world.client(**changes)
    assert items_of(world.store) == before


async def test_clients_are_listed_by_tenant():
    world = await make_world()
    made = [await world.client(name=f"shop {n}") for n in range(3)]
    await world.client(tenant="ten_b")
    listed = await list_clients(world.store, TENANT)
    assert [client.id for client in listed] == [one.client.id for one in made]
    assert [c.id for c in await list_clients(world.store, TENANT, after=made[0].client.id, limit=1)] == [
        made[1].client.id
    ]


async def test_client_of_another_tenant_is_not_found():
    world = await make_world()
    made = await world.client()
    before = items_of(world.store)
    for attempt in (
        load_client(world.store, made.client.id, tenant="ten_b"),
        load_client(world.store, "cli_unknown"),
        disable_client(world.access, DisableClient(made.client.id), actor="x", tenant="ten_b"),
        rotate_client_secret(world.access, RotateClientSecret(made.client.id), actor="x", tenant="ten_b"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert items_of(world.store) == before


async def test_new_secret_is_recorded_and_differs():
    world = await make_world()
    made = await world.client()
    rotated = await rotate_client_secret(world.access, RotateClientSecret(made.client.id), actor="ops")
    assert rotated.secret != made.secret
    assert len(rotated.client.secrets) == 2
    assert await audited(world) == [
        ("ops", "client.secret_rotated", made.client.id),
        (OPERATOR, "client.created", made.client.id),
    ]


async def test_disabling_is_recorded_once_and_can_be_repeated():
    world = await make_world()
    made = await world.client()
    first = await disable_client(world.access, DisableClient(made.client.id, "left us"), actor="ops")
    before = items_of(world.store)
    assert await disable_client(world.access, DisableClient(made.client.id), actor="ops") == first
    assert items_of(world.store) == before
    assert (await audited(world))[0] == ("ops", "client.disabled", made.client.id)
    with pytest.raises(Conflict) as refused:
        await rotate_client_secret(world.access, RotateClientSecret(made.client.id), actor="ops")
    assert refused.value.reason == "client_disabled"
