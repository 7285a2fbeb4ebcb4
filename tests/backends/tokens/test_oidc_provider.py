"""Access tokens of a real OIDC issuer, verified with the keys it publishes, before and after it rotates them."""

import asyncio

import aiohttp
import pytest

from interlock.backends.local.clock import SystemClock
from interlock.core.access.model import ExternalIssuer
from interlock.core.kernel.errors import Unauthenticated
from tests.backends.tokens.forging import parts_of, with_claims
from tests.core.access.world import make_world
from tests.counterparts.oidc_provider import CLIENT_ID, CLIENT_SECRET, TENANT, running_oidc_provider

pytestmark = pytest.mark.xdist_group("oidc_provider")


@pytest.fixture(scope="module")
def issuer():
    with running_oidc_provider() as url:
        yield url


async def world_with(issuer):
    async with aiohttp.ClientSession() as session, session.get(f"{issuer}/.well-known/openid-configuration") as reply:
        metadata = await reply.json()
    world = await make_world(external=[ExternalIssuer(metadata["issuer"], metadata["jwks_uri"], "interlock")])
    behind_ms = SystemClock().now() - world.clock.now()
    world.clock.step_wall(behind_ms)
    return world


async def token_of(issuer, **form):
    form = {"grant_type": "client_credentials", "scope": "payments:read"} | form
    headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, CLIENT_SECRET)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{issuer}/token", data=form, headers=headers) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return (await reply.json())["access_token"]


async def test_token_of_a_real_issuer_is_accepted(issuer):
    world = await world_with(issuer)
    token = await token_of(issuer)
    head, claims, _ = parts_of(token)
    assert (head["typ"], head["alg"]) == ("at+jwt", "ES256")
    principal = await world.callers.verify(token)
    assert (principal.client_id, principal.tenant, principal.scopes) == (f"oidc:{CLIENT_ID}", TENANT, {"payments:read"})
    assert principal.token_id == claims["jti"]
    await world.access.tokens.close()


async def test_its_token_for_somebody_else_or_changed_is_refused(issuer):
    world = await world_with(issuer)
    other = await token_of(issuer, resource="urn:other")
    changed = with_claims(await token_of(issuer), tenant="ten_a")
    for token, reason in [(other, "token_audience"), (changed, "token_signature")]:
        with pytest.raises(Unauthenticated) as refused:
            await world.callers.verify(token)
        assert refused.value.reason == reason
    await world.access.tokens.close()


async def test_its_rotated_key_is_fetched_and_the_old_token_still_counts(issuer):
    world = await world_with(issuer)
    old = await token_of(issuer)
    await world.callers.verify(old)
    async with aiohttp.ClientSession() as session, session.post(f"{issuer}/rotate") as reply:
        assert reply.status == 204
    new = await token_of(issuer)
    assert parts_of(new)[0]["kid"] != parts_of(old)[0]["kid"]
    world.clock.advance(31)
    for token in await asyncio.gather(world.callers.verify(new), world.callers.verify(old)):
        assert token.tenant == TENANT
    await world.access.tokens.close()
