"""Write units of a payment, as DynamoDB counts them, beneath the platform itself.

The platform runs whole, its store and feed on an emulator of DynamoDB, the rest on this machine: bus, queues and read models
are no DynamoDB on AWS either. A request's own commits are told from those of consumers, which fold balances and plan webhooks.
Not counted: reads, and the stream, which costs no write units.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from bench import provider as providers
from bench.aws.meter import Meter
from bench.contestants.interlock import wait_until_caught_up
from bench.provider import Provider
from interlock.backends.aws.calls import Calls
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.parking import Parking
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.table import INDEXES, definition
from interlock.bootstrap import Platform, Storage, keep_credential, open_platform, open_storage
from interlock.config import ProviderSettings, Settings
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.payments.commands import CancelPayment, CapturePayment, CardToken, CreatePayment, RefundPayment
from interlock.core.payments.handlers import cancel_payment, capture_payment, create_payment, refund_payment
from interlock.entrypoints import worker
from tests.counterparts.aws import CREDENTIALS, REGION, running_aws

TENANT = "ten_units"
PAYMENTS = 40
AT_ONCE = 5
BUDGETS = {"card payment in one step": 10, "authorisation": 7}
"""Of a request's own commits."""

_who: ContextVar[str] = ContextVar("who", default="consumers")
Story = Callable[["Shop", int], Awaitable[None]]


def measure(folder: Path, provider: Provider) -> dict[str, Any]:
    """Units of each operation on its own, on average over many of which several run at once."""
    with running_aws("dynamodb", "dynamodbstreams") as endpoint:
        return {
            name: asyncio.run(_count(folder / name.replace(" ", "-"), provider, endpoint, before, story))
            for name, (before, story) in STORIES.items()
        }


class Shop:
    """Asks the platform for what a merchant asks, and measures only what it is told to."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._payments: dict[int, str] = {}

    async def sale(self, number: int) -> None:
        await self._create(number, "automatic")

    async def authorize(self, number: int) -> None:
        await self._create(number, "manual")

    async def capture(self, number: int) -> None:
        command = msgspec.convert({}, CapturePayment)
        await self._answered(
            capture_payment(self._p, self._payments[number], command, self._request("capture", number))
        )

    async def cancel(self, number: int) -> None:
        command = msgspec.convert({}, CancelPayment)
        await self._answered(cancel_payment(self._p, self._payments[number], command, self._request("cancel", number)))

    async def refund(self, number: int) -> None:
        command = msgspec.convert({"amount": 500}, RefundPayment)
        await self._answered(refund_payment(self._p, self._payments[number], command, self._request("refunds", number)))

    @property
    def _p(self) -> Any:
        return self._platform.payments

    async def _create(self, number: int, capture_method: str) -> None:
        command = msgspec.convert(
            {
                "amount": 1999,
                "currency": "EUR",
                "payment_method": CardToken("card", "tok_approve"),
                "capture_method": capture_method,
                "reference": f"order-{number:010d}",
            },
            CreatePayment,
        )
        body = await self._answered(create_payment(self._p, command, self._request("payments", number)))
        self._payments[number] = msgspec.json.decode(body)["id"]

    def _request(self, what: str, number: int) -> Request:
        key = idempotency_key(TENANT, "POST", f"/v1/{what}", f"units-{number}")
        trace = f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00"
        return Request(
            TENANT,
            key,
            fingerprint(f"{what} {number}".encode()),
            "cli_units",
            self._platform.storage.ids.new("req"),
            trace,
        )

    async def _answered(self, asked: Awaitable[Any]) -> bytes:
        reply = await asked
        if reply.status not in (200, 201):
            raise RuntimeError(f"answered with {reply.status}: {reply.body!r}")
        body: bytes = reply.body
        return body


async def _nothing(shop: Shop, number: int) -> None:
    """Begin with nothing."""


STORIES: dict[str, tuple[Story, Story]] = {
    "card payment in one step": (_nothing, Shop.sale),
    "authorisation": (_nothing, Shop.authorize),
    "capture of it all": (Shop.authorize, Shop.capture),
    "cancellation": (Shop.authorize, Shop.cancel),
    "refund in part": (Shop.sale, Shop.refund),
}
"""Name -> what goes before, and what is measured."""


async def _count(folder: Path, provider: Provider, endpoint: str, before: Story, story: Story) -> dict[str, float]:
    provider.forget()
    provider.behave(providers.INSTANT)
    async with _platform(folder, provider, endpoint) as (platform, meter):
        shop, storage = Shop(platform), platform.storage
        loops = worker.loops(platform, member="units")
        stop = asyncio.Event()
        work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
        if before is not _nothing:
            await _all(before, shop, "before")
            await wait_until_caught_up(storage)
        meter.units.clear()
        await _all(story, shop, "request")
        await wait_until_caught_up(storage)
        counted = dict(meter.units)
        stop.set()
        await work
    return {who: counted.get(who, 0) / PAYMENTS for who in ("request", "consumers")}


async def _all(story: Story, shop: Shop, who: str) -> None:
    async def one(number: int) -> None:
        _who.set(who)
        await story(shop, number)

    for start in range(0, PAYMENTS, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(start, start + AT_ONCE)))


@asynccontextmanager
async def _platform(folder: Path, provider: Provider, endpoint: str) -> AsyncIterator[tuple[Platform, Meter]]:
    """A platform without its API whose store and feed are DynamoDB's."""
    folder.mkdir(mode=0o700)
    settings = Settings(data=str(folder), providers=(ProviderSettings(providers.NAME, "simulator", provider.base_url),))
    given: Any = {
        "region_name": REGION,
        "endpoint_url": endpoint,
        "config": AioConfig(retries={"total_max_attempts": 1}),
        **CREDENTIALS,
    }
    session = get_session()
    async with (
        session.create_client("dynamodb", **given) as tables,
        session.create_client("dynamodbstreams", **given) as streams,
    ):
        name = f"units-{uuid.uuid4().hex}"
        made = await tables.create_table(**definition(name))
        meter = Meter(tables, INDEXES)
        meter.who = _who.get
        with (folder / "log").open("wb") as log:
            storage = open_storage(settings, log=log)
            await keep_credential(storage, providers.NAME, "api_key", provider.api_key)
            await keep_credential(storage, providers.NAME, "signing_secret", provider.signing_secret)
            on_aws = _with(storage, meter, streams, name, made["TableDescription"]["LatestStreamArn"])
            platform = await open_platform(settings, on_aws, issuer="http://127.0.0.1")
            try:
                yield platform, meter
            finally:
                await platform.close()


def _with(storage: Storage, meter: Meter, streams: Any, table: str, stream: str) -> Storage:
    clock = storage.clock
    calls = Calls(meter, clock=clock, random=random.random)
    store = DynamoStore(calls, table, new_token=lambda: uuid.uuid4().hex, parking=Parking(clock.now))
    feed = StreamFeed(Calls(streams, clock=clock, random=random.random), stream, clock=clock)
    return storage._replace(store=store, feed=feed, forwarding=None, expiring=None)
