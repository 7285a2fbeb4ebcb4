"""Signing secrets at rest: sealed by a vault, bound to their endpoint, and a vault that is away loses no webhook."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from interlock.core.webhooks.commands import CreateEndpoint, UpdateEndpoint
from interlock.core.webhooks.handlers import create_endpoint, load_endpoint, update_endpoint
from interlock.core.webhooks.records import endpoint_key
from interlock.core.webhooks.sealing import MARK, Safe
from interlock.core.webhooks.signing import signed_headers
from tests.core.webhooks.world import TENANT, URL, Post, World, request

CREATE = CreateEndpoint(URL, ["*"], "shop")
ROTATE = UpdateEndpoint(rotate_secret=True)


class Drawer:
    """A vault for tests: what is put in comes out by its number, in its context alone."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, Mapping[str, str]]] = []
        self.opened = 0
        self.is_away = False

    async def seal(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        self._answer()
        self.kept.append((plaintext, dict(context)))
        return b"%d" % (len(self.kept) - 1)

    async def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        self._answer()
        plaintext, of = self.kept[int(sealed)]
        if of != context:
            raise Invalid("not sealed under this key and context")
        self.opened += 1
        return plaintext

    def _answer(self) -> None:
        if self.is_away:
            raise StoreUnavailable("the vault is away")


@pytest.fixture
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
def world(drawer: Drawer) -> World:
    world = World()
    world.vault = drawer
    world.new_process()
    return world


def is_signed_with(post: Post, secret: Secret) -> bool:
    headers = signed_headers([secret], message_id=post.event, at=post.at, body=post.body)
    return headers["webhook-signature"] in post.headers["webhook-signature"].split(" ")


async def test_secret_stands_in_the_store_only_sealed_and_signs_what_is_sent(world: World):
    endpoint, secret = await create_endpoint(world.w, CREATE, request())
    item = await world.store.get(endpoint_key(TENANT, endpoint.id))
    assert secret.reveal().encode() not in item.value
    assert b"whsec_" not in item.value
    await world.happen()
    await world.drain()
    (post,) = world.merchant.posts
    assert is_signed_with(post, secret)


async def test_rotated_secrets_both_sign_and_both_are_sealed(world: World):
    endpoint, old = await create_endpoint(world.w, CREATE, request())
    _, new = await update_endpoint(world.w, endpoint.id, ROTATE, request())
    assert new is not None
    await world.happen()
    await world.drain()
    (post,) = world.merchant.posts
    assert is_signed_with(post, old) and is_signed_with(post, new)
    item = await world.store.get(endpoint_key(TENANT, endpoint.id))
    assert b"whsec_" not in item.value


async def test_secret_from_before_there_was_a_vault_signs_until_it_is_rotated_away(world: World, drawer: Drawer):
    world.vault = None
    world.new_process()
    endpoint, plain = await create_endpoint(world.w, CREATE, request())
    world.vault = drawer
    world.new_process()
    _, sealed = await update_endpoint(world.w, endpoint.id, ROTATE, request())
    assert sealed is not None
    await world.happen()
    await world.drain()
    (post,) = world.merchant.posts
    assert is_signed_with(post, plain) and is_signed_with(post, sealed)
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert [one.value.reveal().startswith(MARK) for one in held.endpoint.secrets] == [True, False]


async def test_vault_is_asked_once_for_many_webhooks(world: World, drawer: Drawer):
    await create_endpoint(world.w, CREATE, request())
    await world.happen(count=5)
    await world.drain()
    assert (len(world.merchant.posts), drawer.opened) == (5, 1)


async def test_vault_that_is_away_sends_nothing_unsigned_and_the_webhook_goes_out_later(world: World, drawer: Drawer):
    await create_endpoint(world.w, CREATE, request())
    drawer.is_away = True
    await world.happen()
    with pytest.raises(StoreUnavailable):
        await world.drain()
    assert world.merchant.posts == []
    drawer.is_away = False
    await world.run_for(10)
    assert len(world.merchant.posts) == 1


async def test_endpoint_is_not_made_while_the_vault_is_away(world: World, drawer: Drawer):
    drawer.is_away = True
    with pytest.raises(StoreUnavailable):
        await create_endpoint(world.w, CREATE, request())
    assert (await world.store.query(f"{TENANT}/whe")).items == []


async def test_sealed_secret_of_another_endpoint_does_not_open(drawer: Drawer):
    safe = Safe(drawer)
    stored = await safe.put_in(Secret("whsec_x"), tenant="ten_1", endpoint="whe_1")
    assert (await safe.take_out(stored, tenant="ten_1", endpoint="whe_1")).reveal() == "whsec_x"
    for tenant, endpoint in (("ten_1", "whe_2"), ("ten_2", "whe_1")):
        with pytest.raises(StoreUnavailable, match=f"{endpoint} does not open"):
            await safe.take_out(stored, tenant=tenant, endpoint=endpoint)


async def test_sealed_secret_without_a_vault_says_which_setting_is_missing():
    with pytest.raises(StoreUnavailable, match=r"aws\.vault_key"):
        await Safe().take_out(Secret(f"{MARK}AA=="), tenant="ten_1", endpoint="whe_1")
