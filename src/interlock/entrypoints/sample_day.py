"""A day of traffic for a platform that is new on this machine, so that the desk has something to show.

The payments are real ones, made at the simulator through the platform's own handlers; only their clock is told: each has one of
its own, which starts somewhere in the past day and moves by what its calls took. Towards the end one provider degrades. It
runs before anything is served or swept, and once in the life of a data folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextvars import ContextVar
from math import cos, pi
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.bootstrap import Storage, open_platform
from interlock.config import Settings
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, Clock, Millis
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.feed import START
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.providers import CallReport, Operation
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.payments.commands import CardToken, CreatePayment, RefundPayment, RoutingWish
from interlock.core.payments.handlers import create_payment, refund_payment
from interlock.core.payments.ports import Gateway, Payments
from interlock.simulator.cards import CARDS, MARK

PAYMENTS = 480
MERCHANTS = ("lighthouse", "northwind", "bakery", "atlas", "tandem")
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "GBP", "JPY")
DEGRADES_FOR: Millis = 3 * HOUR
AT_ONCE = 24
READ_TIMEOUT_S = 0.25
"""Real time: nobody waits for a day that is over."""
SEED = 20_261_127
MADE = Key("platform/sample_day", "made")

_GOOD = (
    *(("tok_approve", 88), ("tok_decline_insufficient_funds", 7), ("tok_decline_stolen", 1), ("tok_3ds", 2)),
    *(("tok_pending", 1), ("tok_dispute", 1)),
)
_DEGRADED = (
    *(("tok_approve", 42), ("tok_decline_issuer_unavailable", 34), ("tok_decline_insufficient_funds", 6)),
    *(("tok_connect_refused", 12), ("tok_error_though_charged", 6)),
)


class _Sale(NamedTuple):
    at: Millis
    merchant: str
    provider: str
    amount: int
    currency: str
    token: str
    slow: int
    """How many times longer than usual its calls take."""
    reference: str
    customer: str
    is_pinned: bool
    refunded: bool


_now: ContextVar[Millis] = ContextVar("now")


class _DayClock:
    """Each sale's own time. Elapsed time stays the machine's: limits of calls are real."""

    def __init__(self, real: Clock) -> None:
        self._real = real

    def now(self) -> Millis:
        return _now.get()

    def monotonic(self) -> float:
        return self._real.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._real.sleep(seconds)


class _DayIds:
    """Ids of each sale's own time: no order among sales is promised, as none is among machines."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def new(self, prefix: str) -> str:
        return format_id(prefix, _now.get(), self._dice.getrandbits(80))


class _SlowGateway:
    """The providers, whose calls take as long as a real company's would."""

    def __init__(self, gateway: Gateway, dice: random.Random) -> None:
        self._gateway = gateway
        self._dice = dice

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    async def call(self, provider_name: str, op: Operation, *, resend: bool = False) -> CallReport:
        report = await self._gateway.call(provider_name, op, resend=resend)
        _now.set(_now.get() + round(self._dice.lognormvariate(5.4, 0.45) * _slowness.get()))
        return report


_slowness: ContextVar[int] = ContextVar("slowness", default=1)


async def make_sample_day(settings: Settings, storage: Storage, *, issuer: str) -> int:
    """How many payments were made; none unless the folder is new. Safe to repeat.

    `settings` name the providers they are made at, which must be simulated ones.
    """
    if await storage.store.get(MADE) is not None or await storage.feed.read(after=START, limit=1):
        return 0
    await storage.store.commit([Put(MADE, b"{}", ABSENT)])
    dice = random.Random(SEED)  # noqa: S311 - repeatable on purpose
    end = storage.clock.now()
    sales = _sales(dice, end, [one.name for one in settings.providers])
    told = storage._replace(clock=_DayClock(storage.clock), ids=_DayIds(random.Random()))  # noqa: S311 - unique is enough
    quick = replace(
        settings,
        providers=tuple(msgspec.structs.replace(one, read_timeout_s=READ_TIMEOUT_S) for one in settings.providers),
    )
    _now.set(end - DAY)
    platform = await open_platform(quick, told, issuer=issuer)
    payments = platform.payments._replace(gateway=_SlowGateway(platform.engine, dice))  # type: ignore[arg-type]
    turns = asyncio.Semaphore(AT_ONCE)

    async def sell(sale: _Sale) -> None:
        async with turns:
            _now.set(sale.at)
            _slowness.set(sale.slow)
            await _sell(payments, sale)

    try:
        await asyncio.gather(*(sell(sale) for sale in sales))
    finally:
        for close in platform.closers:
            await close()
    return len(sales)


async def _sell(payments: Payments, sale: _Sale) -> None:
    command = CreatePayment(
        amount=sale.amount,
        currency=sale.currency,
        payment_method=CardToken(type="card", token=sale.token),
        customer=sale.customer,
        reference=sale.reference,
        routing=RoutingWish(provider=sale.provider) if sale.is_pinned else None,
    )
    try:
        reply = await create_payment(payments, command, _request(payments, sale))
        made = _made.decode(reply.body)
        if sale.refunded and made.status == "succeeded":
            _now.set(_now.get() + 20 * MINUTE)
            await refund_payment(
                payments,
                made.id,
                RefundPayment(sale.amount // 2 or 1, "requested_by_customer"),
                _request(payments, sale),
            )
    except InterlockError:
        return  # a sale that did not come about is part of a day


def _request(payments: Payments, sale: _Sale) -> Request:
    return Request(sale.merchant, None, "", "sample_day", payments.ids.new(ids.REQUEST))


def _sales(dice: random.Random, end: Millis, providers: Sequence[str]) -> list[_Sale]:
    sales = []
    wallets = random.Random(SEED)  # noqa: S311 - cards apart, so that they change nothing else about the day
    for number in range(PAYMENTS):
        at = end - DAY + _moment(dice)
        provider = dice.choice(providers)
        bad = provider == providers[-1] and at > end - DEGRADES_FOR
        names, weights = zip(*(_DEGRADED if bad else _GOOD), strict=True)
        currency = dice.choice(CURRENCIES)
        amount = round(dice.lognormvariate(7.6, 0.9)) * (1 if currency != "JPY" else 2)
        pinned = dice.random() < 0.8
        token = dice.choices(names, weights)[0]
        card = f"{MARK}{wallets.choices(list(CARDS), range(len(CARDS), 0, -1))[0]}"
        sales.append(
            _Sale(
                at,
                f"mer_{dice.choices(MERCHANTS, [60, 30, 20, 15, 12])[0]}",
                provider,
                max(amount, 50),
                currency,
                (token if pinned or not bad else f"{token}-at-{provider}") + card,
                5 if bad else 1,
                f"order-{1000 + number}",
                f"cus_{dice.randrange(160):03d}",
                pinned,
                dice.random() < 0.06,
            )
        )
    return sales


def _moment(dice: random.Random) -> Millis:
    """Within the day: few at night, most towards its end, as the day ends now."""
    while True:
        share = dice.random()
        if dice.random() < 0.55 + 0.45 * cos(2 * pi * (share - 0.85)):
            return round(share * (DAY - 2 * MINUTE))


class _Made(msgspec.Struct):
    id: str
    status: str


_made = msgspec.json.Decoder(_Made)
