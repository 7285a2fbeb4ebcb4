"""After mixed traffic through a real process: no secret, token or payer's word in its log, metrics, timelines or deliveries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from interlock.bootstrap import SECRETS_FILE
from interlock.entrypoints.cli.up import DEMO_PAYMENT
from tests.entrypoints.api.real import RealPlatform

pytestmark = pytest.mark.xdist_group("api-secrecy")

CARD_NUMBER = "4242424242424242"
WRONG_SECRET = "ics_wrong_secret_that_somebody_tried"
FORGED = "forged_notification_body"
PAYER = {"email": "payer.word@example.com", "note": "the payer's own words"}
TOKENS = (
    "tok_approve",
    "tok_decline_insufficient_funds",
    "tok_decline_stolen",
    "tok_3ds",
    "tok_garbage",
    "tok_wrong_amount",
    "tok_error_though_charged",
    "tok_nobody_issued_this_one",
)


async def mixed_traffic(real: RealPlatform, url: str) -> tuple[list[str], str]:
    """Ids of the payments made, and the secret of the webhook endpoint."""
    hook = await real.ask(
        "POST", "/v1/webhook_endpoints", {"url": f"{url}?key=in_the_query", "events": ["*"]}, key=None
    )
    made = []
    for place, token in enumerate(TOKENS * 2):
        body = {
            "amount": 1000 + place,
            "currency": "EUR",
            "payment_method": {"type": "card", "token": token},
            "capture_method": "manual" if place >= len(TOKENS) else "automatic",
            "description": PAYER["note"],
            "metadata": {"email": PAYER["email"], "number": CARD_NUMBER},
            "return_url": "https://shop.example.com/back?session=in_the_return_url",
        }
        answer = await real.ask("POST", "/v1/payments", body)
        assert answer.status in (201, 202), answer.body
        made.append(answer.json["id"])
    for payment_id in made:
        for name in ("capture", "refunds", "cancel"):
            await real.ask("POST", f"/v1/payments/{payment_id}/{name}", {})
    await bad_traffic(real)
    return made, hook.json["secret"]


async def bad_traffic(real: RealPlatform) -> None:
    """Everything that is refused, with something in it that must not be written down."""
    basic = f"{real.client_id}:{WRONG_SECRET}".encode()
    encoded = msgspec.json.encode(basic).decode().strip('"')  # msgspec writes bytes as base64
    form = {"media_type": "application/x-www-form-urlencoded", "headers": {"Authorization": f"Basic {encoded}"}}
    refused = await real.ask("POST", "/oauth/token", b"grant_type=client_credentials", key=None, token=None, **form)
    assert refused.status == 401
    refused = await real.ask("GET", "/v1/payments", token=real.token[:-4] + "AAAA")
    assert refused.status == 401
    refused = await real.ask("POST", "/v1/payments", {"amount": 1, "number": CARD_NUMBER, PAYER["note"]: 1})
    assert refused.status == 400
    refused = await real.ask("POST", "/v1/notifications/simulator", {"body": FORGED}, key=None)
    assert refused.status == 401
    refused = await real.ask("GET", f"/v1/payments?reference={CARD_NUMBER}&nothing=1")
    assert refused.status == 400


@pytest.fixture
async def echoing_hook():
    """A merchant's endpoint that sends back what it must not, some of it with an error."""
    came: list[bytes] = []

    async def take(asked: web.Request) -> web.Response:
        came.append(await asked.read())
        said = f"Authorization: Bearer abcdefghijklmnop, {asked.headers['webhook-signature']}, {CARD_NUMBER}"
        return web.Response(status=200 if len(came) % 2 else 500, text=said)

    application = web.Application()
    application.router.add_post("/hook", take)
    async with TestServer(application) as server:
        yield str(server.make_url("/hook")), came


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, and in texts that are JSON themselves."""
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            yield from texts(msgspec.json.decode(value))


def secrets_of(real: RealPlatform) -> set[str]:
    """Everything secret that the platform keeps, word for word; public parts of keys and ids are not."""
    kept: set[str] = set()
    for name, value in msgspec.json.decode((real.data / SECRETS_FILE).read_bytes()).items():
        for text in texts(value):
            kept |= {part for part in text.split(":") if len(part) >= 16 and not part.startswith("cli_")}
        assert kept, name
    return kept


async def test_no_secret_is_in_the_log_the_metrics_a_timeline_or_a_delivery(real, echoing_hook):
    url, came = echoing_hook
    made, signing_secret = await mixed_traffic(real, url)
    async with asyncio.timeout(30):
        while len(came) < len(made):
            await asyncio.sleep(0.05)
    surfaces = {
        "log": real.log().decode(),
        "output": (real.data / "output").read_text().replace(DEMO_PAYMENT, ""),
        "metrics": real.metrics(),
        "deliveries": (await real.ask("GET", "/v1/webhook_deliveries?limit=100")).body.decode(),
    }
    for payment_id in made:
        surfaces[f"timeline of {payment_id}"] = (
            await real.ask("GET", f"/v1/payments/{payment_id}/timeline")
        ).body.decode()
    public = await public_parts(real)
    secret = (secrets_of(real) - public) | {real.token, real.client_secret, real.webhook_secret, signing_secret}
    assert len(secret) > 6, "what is looked for must be there"
    secret |= {real.token.rpartition(".")[2], signing_secret.removeprefix("whsec_")}
    for name, text in surfaces.items():
        assert len(text) > 50, name
        for word in secret | {WRONG_SECRET, FORGED, CARD_NUMBER, *TOKENS}:
            assert word not in text, f"{name} shows {word[:12]}"
        assert not re.search(r"whsec_|Bearer [A-Za-z0-9]|eyJ[A-Za-z0-9_-]{20}", text), name
    for name in ("log", "output", "metrics"):
        for word in (*PAYER.values(), "in_the_query", "in_the_return_url", "shop.example.com"):
            assert word not in surfaces[name], f"{name} shows {word}"


async def public_parts(real: RealPlatform) -> set[str]:
    return set(texts((await real.ask("GET", "/.well-known/jwks.json")).json))


async def test_secrets_and_data_are_readable_by_their_owner_only(real):
    for name in (SECRETS_FILE, "interlock.db", "ready.json"):
        assert (real.data / name).stat().st_mode & 0o077 == 0, name
