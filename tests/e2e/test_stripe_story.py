"""The same API calls, at a stateful stand-in for Stripe: charged, told by signed webhook, captured in part, refunded."""

import asyncio

import pytest

from interlock.config import ProviderSettings
from tests.counterparts.local_stripe import API_KEY, CARD_DECLINED, CARD_GOOD, running_localstripe
from tests.running import running

pytestmark = pytest.mark.xdist_group("localstripe")
SECRET = "whsec_from_stripe"


@pytest.fixture(scope="module")
def stripe_url():
    with running_localstripe() as url:
        yield url


def at_stripe(tmp_path, url):
    return running(
        tmp_path,
        providers=[ProviderSettings("stripe", "stripe", url)],
        credentials=[("stripe", "secret_key", API_KEY), ("stripe", "webhook_secret", SECRET)],
    )


async def payment_method(session, url, number) -> str:
    card = {"card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2031", "card[cvc]": "123"}
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with session.post(f"{url}/v1/payment_methods", data={"type": "card", **card}, headers=headers) as reply:
        return (await reply.json())["id"]


async def tell_us(node, url) -> None:
    hook = {"url": f"{node.base_url}/v1/notifications/stripe", "secret": SECRET}
    async with node.session.post(f"{url}/_config/webhooks/ours", json=hook) as configured:
        assert configured.status == 200


async def metrics(node) -> str:
    async with node.session.get(f"{node.base_url}/metrics") as answer:
        return await answer.text()


def asking(token, **more):
    return {"amount": 5000, "currency": "EUR", "payment_method": {"type": "card", "token": token}, **more}


async def test_sale_is_charged_and_its_signed_webhook_is_applied(tmp_path, stripe_url):
    async with at_stripe(tmp_path, stripe_url) as node:
        await tell_us(node, stripe_url)
        token = await payment_method(node.session, stripe_url, CARD_GOOD)
        status, payment = await node.ask("POST", "/v1/payments", asking(token), key="k1")
        assert (status, payment["status"], payment["provider"]) == (201, "succeeded", "stripe")
        store = node.platform.storage.store
        async with asyncio.timeout(20):
            while 'interlock_notifications_total{provider="stripe",result="received"}' not in await metrics(node):
                await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            while (await node.platform.storage.queue.depth("notifications"))[:4] != (0, 0, 0, 0):
                await asyncio.sleep(0.02)
        assert [event.type for event in await store.history(payment["id"])] == ["payment.created", "payment.succeeded"]
        assert (await node.verified()).sound


async def test_authorisation_is_captured_in_part_and_refunded_in_part(tmp_path, stripe_url):
    async with at_stripe(tmp_path, stripe_url) as node:
        token = await payment_method(node.session, stripe_url, CARD_GOOD)
        _, held = await node.ask("POST", "/v1/payments", asking(token, capture_method="manual"), key="k1")
        assert (held["status"], held["amount_authorized"]) == ("requires_capture", 5000)
        path = f"/v1/payments/{held['id']}"
        status, captured = await node.ask("POST", f"{path}/capture", {"amount": 3000, "final": True}, key="k2")
        assert (status, captured["status"], captured["amount_captured"]) == (200, "succeeded", 3000)
        status, refund = await node.ask("POST", f"{path}/refunds", {"amount": 1000}, key="k3")
        assert (status, refund["status"]) == (201, "succeeded")
        reference = (await node.platform.storage.store.history(held["id"]))[-1]
        async with node.session.get(
            f"{stripe_url}/v1/refunds", headers={"Authorization": f"Bearer {API_KEY}"}
        ) as refunds:
            amounts = [one["amount"] for one in (await refunds.json())["data"]]
        assert 1000 in amounts
        assert reference.type == "refund.succeeded"
        assert (await node.verified()).sound


async def test_declined_card_is_a_failed_payment_and_books_nothing(tmp_path, stripe_url):
    async with at_stripe(tmp_path, stripe_url) as node:
        token = await payment_method(node.session, stripe_url, CARD_DECLINED)
        status, payment = await node.ask("POST", "/v1/payments", asking(token), key="k1")
        assert (status, payment["status"], payment["decline"]["network_code"]) == (201, "failed", "card_declined")
        assert (await node.verified()).journals == 0


async def test_forged_webhook_is_refused_and_nothing_is_stored(tmp_path, stripe_url):
    async with at_stripe(tmp_path, stripe_url) as node:
        async with node.session.post(
            f"{node.base_url}/v1/notifications/stripe",
            data=b'{"id":"evt_1","object":"event"}',
            headers={"Stripe-Signature": "t=1,v1=00", "Content-Type": "application/json"},
        ) as answer:
            assert answer.status == 401
        assert await node.platform.storage.queue.depth("notifications") == (0, 0, 0, 0, None)
