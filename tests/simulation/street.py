"""Where the merchants live: their webhook endpoints, which verify what comes and are not always well."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from interlock.core.kernel.secrets import Secret
from interlock.core.webhooks.ports import Failure, SendResult
from interlock.core.webhooks.views import event_body

if TYPE_CHECKING:
    from tests.simulation.world import World

TOLERANCE_S = 300
"""How old a webhook's timestamp may be, as the standard's verifiers have it."""
SLOW_MOST_S = 20.0
CLOSED_WITHIN_S, CLOSED_MOST_S = 40.0, 1_800.0


class Endpoint:
    """One merchant's. Takes what is signed by its secret and fresh; remembers what it took, first arrivals in order."""

    def __init__(self, world: World, tenant: str, url: str) -> None:
        self._world = world
        self.tenant, self.url = tenant, url
        self.id = ""
        self.secrets: list[Secret] = []
        self.locked = False
        """While nobody knows which secret is valid."""
        self.place = world.chaos.place(f"{tenant}/endpoint", world.weather.rates("endpoint"))
        self.first: dict[str, list[int]] = {}
        """Payment -> versions, as they first arrived."""
        self.taken: dict[str, int] = {}
        """Event -> how often it was taken."""
        closing = world.chaos.place(f"{tenant}/closing", world.weather.rates("closing"))
        self.closed = (0.0, 0.0)
        """From when to when nobody is there."""
        if closing.draw() is not None:
            begins = closing.random.random() * CLOSED_WITHIN_S
            self.closed = (begins, begins + CLOSED_MOST_S * closing.random.random() ** 2)

    async def take(self, headers: Mapping[str, str], body: bytes, timeout_s: float) -> SendResult:
        fault = self.place.draw()
        begins, ends = self.closed
        if fault == "refused" or begins <= self._world.loop.time() < ends:
            return SendResult(None, Failure.CONNECT, 1)
        if self.locked:
            return SendResult(401, None, 2)
        if fault == "timed_out":
            return await self._silence(timeout_s)
        if fault == "error_500":
            return SendResult(500, None, 3, b"oops")
        if fault == "redirect":
            return SendResult(302, None, 3)
        if fault == "slow":
            pause_s = SLOW_MOST_S * self.place.random.random() ** 2
            if pause_s >= timeout_s:
                return await self._silence(timeout_s)
            await asyncio.sleep(pause_s)
        self._accept(headers, body)
        if fault == "taken_and_timed_out":
            return await self._silence(timeout_s)
        return SendResult(200, None, 5, b"thanks")

    async def _silence(self, timeout_s: float) -> SendResult:
        await asyncio.sleep(timeout_s)
        return SendResult(None, Failure.TIMEOUT, round(timeout_s * 1_000))

    def _accept(self, headers: Mapping[str, str], body: bytes) -> None:
        watch, event_id = self._world.watch, headers["webhook-id"]
        stamp = int(headers["webhook-timestamp"])
        content = f"{event_id}.{stamp}.".encode() + body
        signatures = headers["webhook-signature"].split()
        valid = any(_sign(secret, content) in signatures for secret in self.secrets)
        watch.that(valid, "a webhook is signed with the endpoint's secret", event_id)
        age_s = abs(self._world.clock.now() / 1_000 - stamp)
        watch.that(age_s <= TOLERANCE_S, "a webhook's timestamp is that of its attempt", (event_id, age_s))
        self._world.trace.add(self.tenant, "webhook", event_id)
        told = msgspec.json.decode(body)
        watch.that(told["id"] == event_id, "a webhook's id is its event's", event_id)
        payment = told["data"]["payment"]
        events = self._world.store._histories.get(payment["id"], {})
        event = next((one for one in events.values() if one.id == event_id), None)
        watch.that(event is not None, "a webhook tells of an event that happened", event_id)
        assert event is not None
        watch.that(event.tenant == self.tenant, "a webhook goes to its own merchant", event_id)
        watch.that(body == event_body(event), "a webhook says what its event says", event_id)
        first = self.taken.get(event_id, 0) == 0
        self.taken[event_id] = self.taken.get(event_id, 0) + 1
        if first:
            seen = self.first.setdefault(payment["id"], [])
            in_order = not seen or seen[-1] < event.version
            watch.that(in_order, "a payment's webhooks first arrive in order", (payment["id"], seen, event.version))
            seen.append(event.version)


class Street:
    """Implements `WebhookSender` for every node."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.endpoints: dict[str, Endpoint] = {}
        """By URL."""

    def open(self, tenant: str) -> Endpoint:
        url = f"https://{tenant.replace('_', '-')}.example.com/hooks"
        endpoint = self.endpoints[url] = Endpoint(self._world, tenant, url)
        return endpoint

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> SendResult:
        return await self.endpoints[url].take(headers, body, timeout_s)


def _sign(secret: Secret, content: bytes) -> str:
    key = b64decode(secret.reveal().removeprefix("whsec_"))
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()
