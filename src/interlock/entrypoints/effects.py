"""What follows from events: read models, balances, webhooks, log lines. A consumer group each, in the worker and in a function.

Every effect is idempotent by event: a batch that failed in the middle comes again, whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from interlock.bootstrap import Platform
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.ledger.projection import fold_records
from interlock.core.ledger.projection import project as project_journals
from interlock.core.payments.projection import project as project_payments
from interlock.core.payments.projection import provider_of
from interlock.core.webhooks.delivering import consume as consume_for_webhooks
from interlock.core.webhooks.events import project_events

EVENTS_REMEMBERED = 2_000

Effect = Callable[[list[BusRecord]], Awaitable[None]]


def effects(platform: Platform) -> Mapping[str, Effect]:
    """Consumer group -> what it does with a batch."""
    storage, webhooks = platform.storage, platform.webhooks

    reader = EventReader(storage.telemetry)

    async def project(records: list[BusRecord]) -> None:
        await project_into(storage.documents, reader.readable(records))

    async def note(records: list[BusRecord]) -> None:
        for event in reader.readable(records):
            provider = provider_of(event) or "none"
            storage.telemetry.count("interlock_payment_events_total", type=event.type, provider=provider)
            storage.telemetry.info(
                event.type,
                event_id=event.id,
                aggregate=event.aggregate,
                tenant=event.tenant,
                provider=provider,
                trace_id=event.trace[3:35],
            )

    async def fold(records: list[BusRecord]) -> None:
        folded = await fold_records(storage.store, records, decode=reader.decode, together=together)
        for refused in folded.refused:
            storage.telemetry.error("ledger.journal_refused", event_id=refused.event, reason=refused.why)

    async def tell(records: list[BusRecord]) -> None:
        await consume_for_webhooks(webhooks, records, decode=reader.decode)

    return {"read_models": project, "ledger_balances": fold, "webhooks": tell, "log": note}


async def project_into(documents: Documents, events: Sequence[Event]) -> None:
    """Every read model of these events. Old ones change nothing: what is there as new or newer stays."""
    await together([project(documents, events) for project in (project_payments, project_journals, project_events)])


class EventReader:
    """Events of bus messages, decoded once for all groups of this process: they read the same ones within moments."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._known: dict[str, Event] = {}

    def decode(self, message: BusMessage) -> Event:
        """Raises MsgspecError."""
        event = self._known.get(message.id)
        if event is None:
            event = decode_event(message.value)
            if len(self._known) >= EVENTS_REMEMBERED:
                self._known.clear()
            self._known[event.id] = event
        return event

    def readable(self, records: Sequence[BusRecord]) -> list[Event]:
        """The events of a batch. What is none is passed over, seen, and blocks nobody behind it."""
        events: list[Event] = []
        for record in records:
            try:
                events.append(self.decode(record.message))
            except msgspec.MsgspecError:
                self._telemetry.error("worker.event_unreadable", event_id=record.message.id)
        return events


async def together(work: Sequence[Awaitable[Any]]) -> None:
    """All at once, so that they share commits; raises when all have ended."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    raise_worst([outcome for outcome in outcomes if isinstance(outcome, Exception)])


def raise_worst(errors: Sequence[Exception]) -> None:
    """Of independent pieces of work: a bug before a refusal."""
    if errors:
        raise min(errors, key=lambda error: isinstance(error, InterlockError))
