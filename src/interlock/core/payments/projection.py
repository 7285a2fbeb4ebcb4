"""Read models of payments, folded from their events: lists and searches, a moment behind the truth."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.core.kernel.documents import Collection, Document, Documents
from interlock.core.kernel.events import Event
from interlock.core.payments.events import decode_facts
from interlock.core.payments.views import DisputeView

PAYMENTS = Collection("payments", ("status", "customer", "reference", "provider"))
DISPUTES = Collection("disputes", ("status", "payment"))
REFUNDS = Collection("refunds", ("status", "payment"))
REFERENCES = Collection("provider_references")
"""From a provider's id of a payment to ours, for notifications that name only theirs."""
COLLECTIONS = (PAYMENTS, DISPUTES, REFUNDS, REFERENCES)
PLATFORM = "-"
"""The tenant of what belongs to no merchant."""


class _Snapshot(msgspec.Struct):
    """The few members of a snapshot that are searched by."""

    id: str
    status: str
    customer: str | None
    reference: str | None
    provider: str | None
    refunds: list[msgspec.Raw]
    disputes: list[DisputeView]


class Located(msgspec.Struct, frozen=True):
    """Which payment a provider's reference means."""

    tenant: str
    payment: str


class _Data(msgspec.Struct):
    payment: msgspec.Raw
    refund: msgspec.Raw = msgspec.Raw()


class _Where(msgspec.Struct):
    provider: str | None


class _AtProvider(msgspec.Struct):
    payment: _Where


class _RefundKeys(msgspec.Struct):
    id: str
    status: str


async def project(documents: Documents, events: Sequence[Event]) -> None:
    """Bring the read models up to these events. Safe to repeat, in any order."""
    latest: dict[str, Event] = {}
    refunds: list[Document] = []
    disputes: list[Document] = []
    references: list[Document] = []
    for event in events:
        if not event.type.startswith(("payment.", "refund.", "dispute.")):
            continue
        known = latest.get(event.aggregate)
        if known is None or known.version < event.version:
            latest[event.aggregate] = event
        # Most events teach nothing, and looking costs less than decoding.
        learned = decode_facts(event.facts).learned if b'"learned":' in bytes(event.facts) else ""
        if learned:
            where = msgspec.json.encode(Located(event.tenant, event.aggregate))
            references.append(Document(learned, PLATFORM, event.version, {}, where))
        if event.type.startswith("refund."):
            refunds.append(_refund(event))
        elif event.type.startswith("dispute."):
            disputes.extend(_disputes(event))
    if latest:
        await documents.upsert(PAYMENTS.name, [_payment(event) for event in latest.values()])
    if references:
        await documents.upsert(REFERENCES.name, references)
    if refunds:
        await documents.upsert(REFUNDS.name, refunds)
    if disputes:
        await documents.upsert(DISPUTES.name, disputes)


async def locate(documents: Documents, provider: str, reference: str) -> Located | None:
    """The payment a provider knows as `reference`, if the read model has heard of it yet."""
    document = await documents.get(REFERENCES.name, reference_id(provider, reference), tenant=PLATFORM)
    return _located.decode(document.body) if document else None


def provider_of(event: Event) -> str | None:
    """The provider an event's payment is at; None for events of other things, or before there is one."""
    if not event.type.startswith(("payment.", "refund.", "dispute.")):
        return None
    return _at_provider.decode(event.data).payment.provider


def reference_id(provider: str, reference: str) -> str:
    return f"{provider}:{reference}"


def _payment(event: Event) -> Document:
    body = _data.decode(event.data).payment
    view = _snapshot.decode(body)
    fields = {
        name: value
        for name, value in (
            ("status", view.status),
            ("customer", view.customer),
            ("reference", view.reference),
            ("provider", view.provider),
        )
        if value is not None
    }
    return Document(event.aggregate, event.tenant, event.version, fields, bytes(body))


def _refund(event: Event) -> Document:
    body = _data.decode(event.data).refund
    view = _refund_keys.decode(body)
    return Document(
        view.id, event.tenant, event.version, {"status": view.status, "payment": event.aggregate}, bytes(body)
    )


def _disputes(event: Event) -> list[Document]:
    view = _snapshot.decode(_data.decode(event.data).payment)
    return [
        Document(
            dispute.id,
            event.tenant,
            event.version,
            {"status": dispute.status, "payment": event.aggregate},
            msgspec.json.encode(dispute),
        )
        for dispute in view.disputes
    ]


_at_provider = msgspec.json.Decoder(_AtProvider)
_located = msgspec.json.Decoder(Located)
_data = msgspec.json.Decoder(_Data)
_snapshot = msgspec.json.Decoder(_Snapshot)
_refund_keys = msgspec.json.Decoder(_RefundKeys)
