"""The adapter and the engine against a running localstripe: a real process, real sockets, real signatures.

It ignores Idempotency-Key, so nothing here speaks of resending (see tests/counterparts/local_stripe.py).
"""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from interlock.core.kernel.errors import Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Operation, Outcome
from interlock.core.kernel.secrets import Secret
from interlock.providers.engine import ProviderConfig, ProviderEngine
from interlock.providers.protocol import RawNotification
from interlock.providers.stripe import StripeProvider
from tests.clocks import ManualClock
from tests.counterparts.local_stripe import API_KEY, CARD_DECLINED, CARD_GOOD, running_localstripe
from tests.providers.recording import RecordingTelemetry

pytestmark = pytest.mark.xdist_group("localstripe")
EUR = Money(1500, "EUR")
WEBHOOK_WAIT_S = 15


@pytest.fixture(scope="module")
def base_url():
    with running_localstripe() as url:
        yield url


@asynccontextmanager
async def connected(base_url):
    config = ProviderConfig("stripe", base_url, {"secret_key": Secret(API_KEY)})
    engine = ProviderEngine({"stripe": (StripeProvider(), config)}, clock=ManualClock(), telemetry=RecordingTelemetry())
    try:
        yield engine
    finally:
        await engine.close()


async def payment_method(base_url, number):
    card = {"card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2031", "card[cvc]": "123"}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as session,
        session.post(f"{base_url}/v1/payment_methods", data={"type": "card", **card}) as reply,
    ):
        return (await reply.json())["id"]


def operation(action, attempt, *, amount=EUR, **fields):
    return Operation(
        action=action,
        attempt_id=attempt,
        payment_id="pay_1",
        tenant="ten_1",
        amount=amount,
        started_at=int(time.time() * 1_000),
        **fields,
    )


async def test_authorize_capture_in_part_and_refund(base_url):
    token = await payment_method(base_url, CARD_GOOD)
    async with connected(base_url) as engine:
        held = await engine.call("stripe", operation(Action.AUTHORIZE, "att_1", token=token))
        assert (held.result.outcome, held.result.captured, held.result.amount) == (Outcome.APPROVED, False, EUR)
        intent = held.result.provider_reference
        assert intent is not None
        assert held.alarms == ()

        part = Money(1000, "EUR")
        capture = operation(Action.CAPTURE, "att_2", amount=part, final=True, provider_reference=intent)
        taken = await engine.call("stripe", capture)
        assert (taken.result.outcome, taken.result.amount) == (Outcome.APPROVED, part)

        back = operation(Action.REFUND, "att_3", amount=Money(400, "EUR"), provider_reference=intent)
        given = await engine.call("stripe", back)
        assert (given.result.outcome, given.result.amount) == (Outcome.APPROVED, Money(400, "EUR"))

        look = operation(
            Action.LOOKUP, "att_3", amount=Money(400, "EUR"), provider_reference=intent, target=Action.REFUND
        )
        found = await engine.call("stripe", look)
        assert found.result.outcome is Outcome.APPROVED
        assert found.result.attempt_reference == given.result.attempt_reference

        never = await engine.call(
            "stripe", operation(Action.LOOKUP, "att_9", provider_reference=intent, target=Action.REFUND)
        )
        assert never.result.outcome is Outcome.NOT_SENT


async def test_automatic_capture_takes_the_money_at_once_and_is_found_again(base_url):
    token = await payment_method(base_url, CARD_GOOD)
    async with connected(base_url) as engine:
        charge = await engine.call("stripe", operation(Action.AUTHORIZE, "att_1", token=token, capture=True))
        assert (charge.result.outcome, charge.result.captured, charge.result.amount) == (Outcome.APPROVED, True, EUR)
        look = operation(
            Action.LOOKUP,
            "att_1",
            capture=True,
            target=Action.AUTHORIZE,
            provider_reference=charge.result.provider_reference,
        )
        assert (await engine.call("stripe", look)).result.outcome is Outcome.APPROVED


async def test_release_of_an_authorisation_is_approved(base_url):
    token = await payment_method(base_url, CARD_GOOD)
    async with connected(base_url) as engine:
        held = await engine.call("stripe", operation(Action.AUTHORIZE, "att_1", token=token))
        void = operation(Action.VOID, "att_2", provider_reference=held.result.provider_reference)
        assert (await engine.call("stripe", void)).result.outcome is Outcome.APPROVED


async def test_declined_card(base_url):
    token = await payment_method(base_url, CARD_DECLINED)
    async with connected(base_url) as engine:
        report = await engine.call("stripe", operation(Action.AUTHORIZE, "att_1", token=token, capture=True))
    assert report.result.outcome is Outcome.DECLINED
    assert report.result.decline is not None
    assert (report.result.decline.kind, report.result.decline.network_code) == ("soft", "card_declined")


async def test_exchange_on_record_shows_no_token_and_no_key(base_url):
    token = await payment_method(base_url, CARD_GOOD)
    async with connected(base_url) as engine:
        report = await engine.call("stripe", operation(Action.AUTHORIZE, "att_1", token=token))
    (exchange,) = report.exchanges
    assert '"status":"requires_capture"' in (exchange.reply or "")
    for leak in (token, API_KEY, "client_secret", CARD_GOOD):
        assert leak not in repr(exchange)


async def test_lookup_it_cannot_answer_is_unknown(base_url):
    async with connected(base_url) as engine:
        report = await engine.call("stripe", operation(Action.LOOKUP, "att_1", target=Action.AUTHORIZE))
    assert report.result.outcome is Outcome.UNKNOWN


async def test_signed_webhook_is_accepted_and_a_changed_one_is_not(base_url):
    secret = Secret("whsec_local")
    heard: asyncio.Queue[RawNotification] = asyncio.Queue()

    async def hear(request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.put_nowait(RawNotification(headers, await request.read(), int(time.time() * 1_000)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        hook = {"url": f"http://127.0.0.1:{port}/hook", "secret": secret.reveal()}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{base_url}/_config/webhooks/ours", json=hook) as configured,
        ):
            assert configured.status == 200
        token = await payment_method(base_url, CARD_GOOD)
        async with connected(base_url) as engine:
            charge = await engine.call("stripe", operation(Action.AUTHORIZE, "att_hook", token=token, capture=True))
        provider = StripeProvider()
        while True:
            raw = await asyncio.wait_for(heard.get(), WEBHOOK_WAIT_S)
            (news,) = provider.notifications(raw, {"webhook_secret": [secret]})
            if news.attempt_id == "att_hook":
                break
        assert (news.provider_reference, news.payment_id, news.tenant) == (
            charge.result.provider_reference,
            "pay_1",
            "ten_1",
        )
        assert news.result is not None
        assert (news.action, news.result.outcome, news.result.amount) == (Action.AUTHORIZE, Outcome.APPROVED, EUR)
        changed = raw._replace(body=raw.body.replace(b"1500", b"1501"))
        assert changed.body != raw.body
        with pytest.raises(Unauthenticated):
            provider.notifications(changed, {"webhook_secret": [secret]})
        with pytest.raises(Unauthenticated):
            provider.notifications(raw, {"webhook_secret": [Secret("whsec_other")]})
        assert json.loads(raw.body)["type"] == "payment_intent.succeeded"
    finally:
        await runner.cleanup()
