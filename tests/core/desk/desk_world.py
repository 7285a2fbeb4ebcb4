"""The scenarios' world with the desk beside it: its rows are brought up to date when a test says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from interlock.backends.memory.documents import MemoryDocuments
from interlock.bootstrap import Platform
from interlock.core.access.audit_chain import link
from interlock.core.desk.figures.model import ATTEMPTS, COLLECTIONS, DESK, PAYMENTS, PaymentRow, decode_row
from interlock.core.desk.figures.projection import project as project_figures
from interlock.core.desk.operators.handlers import SignedIn
from interlock.core.desk.operators.model import Session
from interlock.core.desk.operators.roles import Role
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.replay.ports import Replays, Tell
from interlock.core.desk.risk.handlers import at_risk
from interlock.core.desk.risk.looking import follow
from interlock.core.desk.risk.model import Risk
from interlock.core.desk.risk.ports import Watch
from interlock.core.kernel.documents import Document
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Key
from interlock.core.ledger.projection import JOURNALS
from interlock.core.ledger.projection import project as project_journals
from interlock.core.payments.projection import COLLECTIONS as PAYMENT_COLLECTIONS
from interlock.core.payments.projection import project as project_payments
from interlock.core.webhooks.events import COLLECTIONS as WEBHOOK_COLLECTIONS
from interlock.core.webhooks.events import project_events
from interlock.entrypoints.effects import told_again
from tests.scenarios.world import World


class DeskWorld(World):
    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)  # type: ignore[arg-type]
        self.desk = MemoryDocuments((*COLLECTIONS, *PAYMENT_COLLECTIONS, *WEBHOOK_COLLECTIONS, JOURNALS))

    async def every_event(self) -> list[Event]:
        found: list[Event] = []
        position = START
        while records := await self.feed.read(after=position, limit=500):
            found += [record.event for record in records]
            position = records[-1].position
        return found

    async def look(self) -> None:
        """Bring the desk up to the latest commit."""
        events = await self.every_event()
        for project in (project_figures, project_payments, project_journals, project_events):
            await project(self.desk, events)
        await link(self.store, events)
        await follow(self.watch, events)

    async def row(self, payment_id: str) -> PaymentRow:
        document = await self.desk.get(PAYMENTS.name, payment_id, tenant=DESK)
        assert document is not None
        return decode_row(document.body)

    async def attempts(self) -> list[Document]:
        return await self.desk.find(ATTEMPTS.name, tenant=DESK, limit=1_000)

    @property
    def watch(self) -> Watch:
        return Watch(self.store, self.clock, self.ids, self.telemetry)

    async def risks(self) -> list[Risk]:
        return (await at_risk(self.desk, self.node.webhooks, self.clock.now())).risks

    @property
    def repairs(self) -> Repairs:
        return Repairs(self.node.payments, self.node.webhooks, self.desk)

    @property
    def replays(self) -> Replays:
        p, w = self.node.payments, self.node.webhooks
        return Replays(p.store, p.clock, p.ids, self.desk, w, w.queue, ("webhooks", "notifications"), self.feed)

    @property
    def told_again(self) -> Tell:
        """As the worker has it."""
        storage = SimpleNamespace(documents=self.desk, store=self.store, telemetry=self.telemetry, bus=self.bus)
        return told_again(cast(Platform, SimpleNamespace(storage=storage, webhooks=self.node.webhooks)))


def operator(name: str = "ada", role: Role = Role.LEAD, *, now: int = 0) -> SignedIn:
    return SignedIn(Session(name, role, "c" * 64, now, now, now), Key("~desk/session/x", "session"), 1)
