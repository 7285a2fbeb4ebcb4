"""Journals, the events that carry them, and stores that fail, for the ledger's tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.clock import DAY
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.store import Key, Put, Store, Write
from interlock.core.ledger import model
from interlock.core.ledger.model import Journal, booked
from interlock.core.ledger.records import journal_facts, journal_write
from tests.clocks import ManualClock

unhurried = settings(deadline=None, max_examples=60)
"""For properties: this machine may be busy."""
T0 = 1_800_000_000_000
"""2027-01-15T08:00:00Z."""
TENANT = "ten_a"
DISPUTES = (model.DISPUTE_OPENED, model.DISPUTE_WON, model.DISPUTE_LOST)


def make(
    number: int = 1,
    kind: str = model.CAPTURE,
    amount: int = 1999,
    *,
    currency: str = "EUR",
    at: int = T0,
    payment: int | None = None,
    tenant: str = TENANT,
    provider: str = "simulator_a",
    excess: int = 0,
) -> Journal:
    """The journal of this number; by default each number has a payment of its own."""
    return booked(
        kind,
        amount,
        id=format_id("jrn", at, number),
        tenant=tenant,
        currency=currency,
        at=at,
        payment=format_id("pay", T0, number if payment is None else payment),
        reference=format_id("att", at, number),
        provider=provider,
        excess=excess,
    )


def event_of(journal: Journal, version: int = 1) -> Event:
    return Event(
        id=journal.id.replace("jrn_", "evt_"),
        type="payment.captured",
        tenant=journal.tenant,
        aggregate=journal.payment,
        version=version,
        at=journal.at,
        facts=msgspec.Raw(msgspec.json.encode({"cause": "api", **journal_facts(journal), "alarms": []})),
    )


def bare_event(number: int = 1, version: int = 1) -> Event:
    """One that moves no money."""
    return Event(
        id=format_id("evt", T0, 10_000 + number),
        type="payment.created",
        tenant=TENANT,
        aggregate=format_id("pay", T0, number),
        version=version,
        at=T0,
        facts=msgspec.Raw(b'{"cause":"api"}'),
    )


async def write(store: Store, journals: Iterable[Journal]) -> list[Event]:
    """Commit each journal with its event, as payments do."""
    versions: dict[str, int] = {}
    events = []
    for journal in journals:
        versions[journal.payment] = versions.get(journal.payment, 0) + 1
        events.append(event_of(journal, versions[journal.payment]))
        await store.commit([journal_write(journal)], events[-1:])
    return events


def memory() -> MemoryStore:
    return MemoryStore(ManualClock(T0))


async def overwrite(store: Store, key: Key, value: bytes) -> None:
    """As somebody with access to the database would."""
    item = await store.get(key)
    await store.commit([Put(key, value, item.version if item else 0)])


class FailingStore:
    """A store whose calls fail by plan, one entry a call: before (nothing happened), after (it did), or not at all."""

    def __init__(self, store: MemoryStore, plan: Sequence[str]) -> None:
        self._store = store
        self._plan = list(plan)

    def _next(self) -> str:
        return self._plan.pop(0) if self._plan else ""

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        failure = self._next()
        if failure == "before":
            raise StoreUnavailable("by plan")
        await self._store.commit(writes, events)
        if failure == "after":
            raise OutcomeUnknown("by plan")

    async def get(self, key: Key) -> Any:
        if self._next():
            raise StoreUnavailable("by plan")
        return await self._store.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


CURRENCIES = ("EUR", "JPY", "KWD")


@st.composite
def journal_lists(draw: st.DrawFn, most: int = 40) -> list[Journal]:
    """Journals of few tenants, days, payments, providers and currencies, so that they meet."""
    made = []
    for number in range(draw(st.integers(0, most))):
        kind = draw(st.sampled_from(sorted(model.RECIPES)))
        made.append(
            make(
                number,
                kind,
                draw(st.integers(1, 2**53)),
                currency=draw(st.sampled_from(CURRENCIES)),
                at=T0 + draw(st.integers(-20, 20)) * DAY // 2,
                payment=draw(st.integers(0, 5)),
                tenant=draw(st.sampled_from(("ten_a", "ten_b", "ten_c"))),
                provider=draw(st.sampled_from(("simulator_a", "stripe"))),
                excess=draw(st.integers(0, 2**53)) if kind in DISPUTES else 0,
            )
        )
    return made
