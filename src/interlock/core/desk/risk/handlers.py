"""Finding what is at risk, and what a filter touches."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.explain.search import merchants
from interlock.core.desk.figures.model import DESK, PAYMENTS, PaymentRow, decode_row
from interlock.core.desk.risk.commands import ExplainFinding
from interlock.core.desk.risk.model import AtRisk, Blast, BlastRadius, Filter, Kind, Risk, risks_of
from interlock.core.desk.risk.ports import Watch
from interlock.core.desk.risk.records import Finding, end_writes, load_open, open_findings, open_of, risk_of
from interlock.core.kernel import ids
from interlock.core.kernel.clock import MINUTE, Millis
from interlock.core.kernel.documents import Documents, Scalar
from interlock.core.kernel.errors import Conflict, NotFound
from interlock.core.kernel.idempotency import Request
from interlock.core.payments.attention import Attention
from interlock.core.webhooks.listing import Wanted, find_deliveries
from interlock.core.webhooks.ports import Webhooks

AT_ONCE = 2_000
RISKS_MAX = 5_000
PAYMENTS_MAX = 200_000
UNDELIVERED_MAX = 100
"""Of one merchant: more of them are one problem, its endpoint."""


async def at_risk(documents: Documents, w: Webhooks, now: Millis) -> AtRisk:
    """Every payment that needs somebody."""
    found: list[Risk] = []
    complete = True
    for kind in Attention:
        rows = await _oldest(documents, kind)
        complete = complete and len(rows) < RISKS_MAX
        found += [risk for row in rows for risk in risks_of(row, now)]
    for merchant in await merchants(documents):
        found += await _undelivered(documents, w, merchant)
        await w.clock.sleep(0)  # each takes milliseconds, and there may be hundreds: payments go on between
    findings = await open_findings(w.store, limit=RISKS_MAX)
    found += map(risk_of, findings)
    return AtRisk(sorted(found, key=lambda one: (one.since, one.payment)), complete and len(findings) < RISKS_MAX)


async def _oldest(documents: Documents, kind: Attention) -> list[PaymentRow]:
    """Of the payments of which this is the worst: the newest of them may still be settled by themselves."""
    rows: list[PaymentRow] = []
    newer_than = ""
    while len(rows) < RISKS_MAX:
        page = await documents.find(
            PAYMENTS.name, tenant=DESK, where={"attention": kind}, before=newer_than, limit=AT_ONCE
        )
        rows += [decode_row(document.body) for document in page]
        if len(page) < AT_ONCE:
            break
        newer_than = page[0].id
    return rows[:RISKS_MAX]


async def risks_of_payment(w: Webhooks, payment: str) -> list[Risk]:
    """What was found about one payment, beside what its row says."""
    return [risk_of(one.finding) for one in await open_of(w.store, payment)]


async def explain_finding(w: Watch, finding_id: str, command: ExplainFinding, request: Request) -> Finding:
    """Somebody knows why a provider contradicts, and what follows from it: it is at risk no more, until something new is said.

    Safe to repeat. Raises NotFound where nothing of that id is open, Conflict for one that ends by itself.
    """
    held = await load_open(w.store, finding_id)
    if held is None:
        raise NotFound("no such finding is open")
    finding = held.finding
    if finding.kind is not Kind.DRIFT:
        raise Conflict("this ends when payment and ledger agree, and not before", code="not_explainable")
    now = w.clock.now()
    ended = replace(finding, ended_at=now, ended_by=request.actor, reason=command.reason.strip())
    record, recorded = audit_event(
        w.ids,
        now,
        actor=request.actor,
        action="finding.explained",
        target=finding.payment or finding.id,
        tenant=finding.merchant or PLATFORM,
        detail={"finding": finding.id, "about": finding.about, "said": finding.detail, "reason": ended.reason},
    )
    await w.store.commit([*end_writes(held, ended), record], [recorded])
    return ended


async def _undelivered(documents: Documents, w: Webhooks, merchant: str) -> list[Risk]:
    failed = await find_deliveries(w, merchant, Wanted(status="dead"), limit=UNDELIVERED_MAX)
    latest = {one.aggregate: one for one in reversed(failed.deliveries) if ids.is_id(one.aggregate, ids.PAYMENT)}
    found = []
    for payment, delivery in latest.items():
        document = await documents.get(PAYMENTS.name, payment, tenant=DESK)
        if document is not None:
            row = decode_row(document.body)
            found.append(
                Risk(
                    Kind.WEBHOOK_UNDELIVERED,
                    row.id,
                    row.merchant,
                    row.amount,
                    row.currency,
                    row.provider,
                    row.reference,
                    delivery.created_at,
                    f"{delivery.type} to {delivery.endpoint}",
                )
            )
    return found


async def blast_radius(documents: Documents, wanted: Filter, *, payments_max: int = PAYMENTS_MAX) -> BlastRadius:
    """What the filter touches, exactly; of the newest `payments_max` payments of its time if there were more."""
    blast, looked_at = Blast(), 0
    async for row in _within(documents, wanted, payments_max + 1):
        looked_at += 1
        if looked_at > payments_max:
            return blast.sum(complete=False)
        if wanted.fits(row):
            blast.add(row)
    return blast.sum()


async def matching(documents: Documents, wanted: Filter, *, limit: int) -> tuple[list[PaymentRow], bool]:
    """Up to `limit` payments that fit, newest first, and whether these are all of them."""
    found: list[PaymentRow] = []
    looked_at = 0
    async for row in _within(documents, wanted, PAYMENTS_MAX + 1):
        looked_at += 1
        if looked_at > PAYMENTS_MAX:
            return found, False
        if wanted.fits(row):
            if len(found) == limit:
                return found, False
            found.append(row)
    return found, True


def _within(documents: Documents, wanted: Filter, limit: int) -> AsyncIterator[PaymentRow]:
    """Payments of the filter's time that may fit, newest first."""
    leading = {"merchant": wanted.merchant, "provider": wanted.provider, "status": wanted.status}
    where: dict[str, Scalar] = {name: value for name, value in leading.items() if value is not None}
    # An id is made a moment before or after the payment's own time is read.
    first = ids.format_id(ids.PAYMENT, max(0, wanted.created_from - MINUTE), 0)
    behind = ids.format_id(ids.PAYMENT, wanted.created_before + MINUTE, 0)
    return _rows(documents, where, first, behind, limit)


async def _rows(
    documents: Documents, where: dict[str, Scalar], id_from: str, after: str, limit: int
) -> AsyncIterator[PaymentRow]:
    seen = 0
    while seen < limit:
        page = await documents.find(
            PAYMENTS.name, tenant=DESK, where=where, id_from=id_from, after=after, limit=AT_ONCE
        )
        for document in page:
            yield decode_row(document.body)
        seen += len(page)
        if len(page) < AT_ONCE:
            return
        after = page[-1].id
