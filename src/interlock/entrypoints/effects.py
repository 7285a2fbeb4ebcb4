"""What follows from events: read models, balances, webhooks, log lines. A consumer group each, in the worker and in a function.

Every effect is idempotent by event: a batch that failed in the middle comes again, whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from interlock.bootstrap import Platform, Storage
from interlock.core.access.audit_chain import link
from interlock.core.desk.figures.projection import project as project_figures
from interlock.core.desk.replay.model import Group
from interlock.core.desk.replay.ports import Tell
from interlock.core.desk.risk.looking import follow as look_for_risks
from interlock.core.desk.risk.ports import Watch
from interlock.core.desk.slo.counting import seen_in
from interlock.core.desk.slo.handlers import load_slos
from interlock.core.desk.slo.model import Slo
from interlock.core.desk.slo.ports import Objectives
from interlock.core.desk.slo.verdicts import increments_of
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.events import Event, decode_event, encode_event
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.ledger.projection import fold, fold_records
from interlock.core.ledger.projection import project as project_journals
from interlock.core.payments.projection import project as project_payments
from interlock.core.payments.projection import provider_of
from interlock.core.webhooks.delivering import consume as consume_for_webhooks
from interlock.core.webhooks.delivering import fan_out
from interlock.core.webhooks.events import project_events

EVENTS_TOPIC = "events"
REPLAYED = "replayed"
"""A header of what is on the bus once more, for others than us: our own groups pass it over."""
REPLAYS_WRITER = 9_999
"""Journals that a replay counts have sums of their own: nobody else writes those, and all of them are added up."""
EVENTS_REMEMBERED = 2_000
OBJECTIVES_KNOWN_S = 10.0

MERCHANTS_LISTS = (project_payments, project_journals, project_events)
"""What merchants list. The desk's rows are a group of their own: when they lag, merchants do not notice."""

Effect = Callable[[list[BusRecord]], Awaitable[None]]


def effects(platform: Platform) -> Mapping[str, Effect]:
    """Consumer group -> what it does with a batch."""
    storage, webhooks = platform.storage, platform.webhooks

    reader = EventReader(storage.telemetry)

    async def project(records: list[BusRecord]) -> None:
        await _into(storage.documents, reader.readable(records), MERCHANTS_LISTS)

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

    async def count(records: list[BusRecord]) -> None:
        folded = await fold_records(storage.store, records, decode=reader.decode, together=together)
        for refused in folded.refused:
            storage.telemetry.error("ledger.journal_refused", event_id=refused.event, reason=refused.why)

    async def tell(records: list[BusRecord]) -> None:
        await consume_for_webhooks(webhooks, records, decode=reader.decode)

    known = KnownObjectives(platform.desk.objectives)
    watch = watch_of(storage)

    async def measure(events: list[Event]) -> None:
        slos = await known.get()
        for seen in seen_in(events):
            for metric, labels, amount in increments_of(slos, seen):
                storage.telemetry.count(metric, amount, **dict(labels))

    async def show(records: list[BusRecord]) -> None:
        events = reader.readable(records)
        await project_figures(storage.documents, events)
        await link(storage.store, events)
        await look_for_risks(watch, events)
        await measure(events)

    groups = {"read_models": project, "ledger_balances": count, "webhooks": tell, "desk": show, "log": note}
    return {group: _of_what_is_new(effect) for group, effect in groups.items()}


def _of_what_is_new(effect: Effect) -> Effect:
    async def without_replays(records: list[BusRecord]) -> None:
        new = [record for record in records if REPLAYED not in record.message.headers]
        if new:
            await effect(new)

    return without_replays


def told_again(platform: Platform) -> Tell:
    """The same effects for events that have had them. What counts by the event is no part of them: it would count twice."""
    storage, webhooks = platform.storage, platform.webhooks

    async def read_models(events: Sequence[Event]) -> None:
        await _into(storage.documents, events, MERCHANTS_LISTS)

    async def desk(events: Sequence[Event]) -> None:
        await project_figures(storage.documents, events)
        await link(storage.store, events)

    async def ledger_balances(events: Sequence[Event]) -> None:
        folded = await fold(storage.store, events, writer=REPLAYS_WRITER)
        for refused in folded.refused:
            storage.telemetry.error("ledger.journal_refused", event_id=refused.event, reason=refused.why)

    async def deliveries(events: Sequence[Event]) -> None:
        for event in events:
            await fan_out(webhooks, event)

    async def outside(events: Sequence[Event]) -> None:
        marked = {REPLAYED: "1"}
        await storage.bus.publish(
            EVENTS_TOPIC, [BusMessage(one.id, one.aggregate, encode_event(one), marked) for one in events]
        )

    return {
        Group.READ_MODELS: read_models,
        Group.DESK: desk,
        Group.LEDGER_BALANCES: ledger_balances,
        Group.WEBHOOKS: deliveries,
        Group.OUTSIDE: outside,
    }


def watch_of(storage: Storage) -> Watch:
    return Watch(storage.store, storage.clock, storage.ids, storage.telemetry)


async def project_into(documents: Documents, events: Sequence[Event]) -> None:
    """Every read model of these events. Old ones change nothing: what is there as new or newer stays."""
    await _into(documents, events, (*MERCHANTS_LISTS, project_figures))


async def _into(
    documents: Documents,
    events: Sequence[Event],
    projections: Sequence[Callable[[Documents, Sequence[Event]], Awaitable[None]]],
) -> None:
    await together([project(documents, events) for project in projections])


class KnownObjectives:
    """The objectives in use, asked for now and then."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._asked_at = -OBJECTIVES_KNOWN_S
        self._slos: tuple[Slo, ...] = ()

    async def get(self) -> tuple[Slo, ...]:
        now = self._objectives.clock.monotonic()
        if now - self._asked_at >= OBJECTIVES_KNOWN_S:
            self._asked_at = now
            self._slos = await load_slos(self._objectives)
        return self._slos


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
