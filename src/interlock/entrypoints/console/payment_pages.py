"""Payments: lists of them, and everything about one."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from interlock.core.access.audit import audit_event
from interlock.core.desk.explain.bundle import bundle_of, encode_bundle
from interlock.core.desk.explain.model import Explained, LineView
from interlock.core.desk.explain.search import find_row, merchants
from interlock.core.desk.explain.views import Waterfall, waterfalls
from interlock.core.desk.figures.model import DESK, PAYMENTS, decode_row
from interlock.core.desk.operators.roles import Permission, require
from interlock.core.desk.risk.handlers import risks_of_payment
from interlock.core.kernel import ids
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.store import Key
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.sweeping import Looked, look_now
from interlock.core.payments.timeline import TimelineEntry
from interlock.core.payments.views import payment_view
from interlock.core.webhooks.handlers import retry_delivery
from interlock.entrypoints.console.asking import request_of
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.masking import masked, masked_story
from interlock.entrypoints.console.pages import CHOICES_MAX, ROOT, Asked, Page, Reply, Sent, Shown, Went
from interlock.entrypoints.explain import explain_with_observations

PAGE = 50
FILTERS = ("merchant", "provider", "status", "customer", "reference")
PERSONAL = frozenset({"customer", "reference"})
"""Filters that would tell who may not see them whether a guess is right."""
STATUSES = (
    *("requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture"),
    *("succeeded", "canceled", "failed"),
)
OBSERVED = "observations"
"""`?show=` this: log lines and spans, too. Without, a page stays small however much was said."""
LINES_ON_PAGE, SPANS_ON_PAGE = 250, 150


class ObservedEntry(NamedTuple):
    """In a timeline, beside what is on record."""

    at: str
    kind: str
    line: LineView | None = None
    waterfall: Waterfall | None = None


def payment_pages(desk: Desk) -> list[Page]:
    documents = desk.platform.storage.documents

    async def some(asked: Asked) -> Reply:
        where = {name: asked.query[name] for name in FILTERS if name in asked.query}
        if not PERSONAL.isdisjoint(where):
            require(asked.me.session.role, Permission.SEE_CUSTOMERS)
        after = asked.query.get("after")
        found = await documents.find(PAYMENTS.name, tenant=DESK, where=where, after=after, limit=PAGE + 1)
        rows = [masked(decode_row(one.body), asked.me) for one in found[:PAGE]]
        context = {
            "title": "Payments",
            "rows": rows,
            "next": found[PAGE - 1].id if len(found) > PAGE else None,
            "filters": where,
            "merchants": await merchants(documents, limit=CHOICES_MAX),
            "providers": desk.platform.engine.names(),
            "statuses": STATUSES,
        }
        return Shown("payments.html", context)

    async def one(asked: Asked) -> Reply:
        return Shown("payment.html", await _story(desk, asked))

    async def one_as_json(asked: Asked) -> Reply:
        story = (await _story(desk, asked))["story"]
        body = msgspec.json.format(msgspec.json.encode(story), indent=2)
        name = f"{story.payment}.json"
        return Sent(body, "application/json", (("content-disposition", f'attachment; filename="{name}"'),))

    async def reproduction(asked: Asked) -> Reply:
        merchant, payment = await _owner(desk, asked)
        held = await load_payment(desk.platform.payments, merchant, payment)
        bundle = bundle_of(held.payment, await desk.platform.storage.store.history(payment))
        name = f'attachment; filename="{payment}.reproduction.json"'
        return Sent(encode_bundle(bundle), "application/json", (("content-disposition", name),))

    async def look_up(asked: Asked) -> Reply:
        merchant, payment = await _owner(desk, asked)
        # Before the look: one that is cut off half-way has its record, too.
        put, event = audit_event(
            desk.operators.ids,
            asked.now,
            actor=asked.me.session.operator,
            action="payment.looked_into",
            target=payment,
            tenant=merchant,
        )
        await desk.platform.storage.store.commit([put], [event])
        looked = await look_now(desk.platform.payments, merchant, payment)
        return Went(f"{ROOT}/payments/{payment}", said_of(looked))

    async def retry(asked: Asked) -> Reply:
        merchant, payment = await _owner(desk, asked)
        await retry_delivery(
            desk.platform.webhooks, asked.params["delivery"], request_of(asked, merchant, desk.operators.ids)
        )
        return Went(f"{ROOT}/payments/{payment}#deliveries", "It will be sent once more in a moment.")

    return [
        Page("GET", "/payments", some, Permission.SEE),
        Page("GET", "/payments/{payment}", one, Permission.SEE),
        Page("GET", "/payments/{payment}/json", one_as_json, Permission.SEE),
        Page("GET", "/payments/{payment}/reproduction", reproduction, Permission.EXPORT_REPRODUCTION),
        Page("POST", "/payments/{payment}/look-up", look_up, Permission.RETRY_DELIVERIES),
        Page("POST", "/payments/{payment}/deliveries/{delivery}/retry", retry, Permission.RETRY_DELIVERIES),
    ]


def said_of(looked: Looked) -> str:
    state = looked.payment.state.replace("_", " ")
    if looked.unsaid:
        return f"Nothing new, it is still {state}: {'; '.join(looked.unsaid)}."
    if looked.asked:
        return f"Its provider was asked: it is {state}."
    return f"Nothing of it was open: it is {state}."


async def _owner(desk: Desk, asked: Asked) -> Key:
    """Merchant and payment. Raises NotFound."""
    payment = asked.params["payment"]
    row = await find_row(desk.platform.storage.documents, payment) if ids.is_id(payment, ids.PAYMENT) else None
    if row is None:
        raise NotFound("there is no such payment, or it has just been made: try again in a moment")
    return Key(row.merchant, payment)


async def _story(desk: Desk, asked: Asked) -> dict[str, Any]:
    merchant, payment = await _owner(desk, asked)
    story = masked_story(await explain_with_observations(desk.platform, merchant, payment), asked.me)
    held = await load_payment(desk.platform.payments, merchant, payment)
    row = await find_row(desk.platform.storage.documents, payment)
    assert row is not None
    view = payment_view(held.payment)
    showing = asked.query.get("show") == OBSERVED
    entries = _with_observations(story) if showing else story.entries
    seen = story.observations
    return {
        "title": f"Payment {payment[-6:]}",
        "story": story,
        "view": view,
        "row": masked(row, asked.me),
        "merchant": merchant,
        "findings": await risks_of_payment(desk.platform.webhooks, payment),
        "entries": entries,
        "kinds": sorted({entry.kind for entry in entries}),
        "observed": OBSERVED,
        "showing": showing,
        "cut": seen.more or len(seen.lines) > LINES_ON_PAGE or len(seen.spans) > SPANS_ON_PAGE,
    }


def _with_observations(story: Explained) -> list[TimelineEntry | ObservedEntry]:
    """Lines and waterfalls at their places among what is on record; at one instant, after it."""
    observed = story.observations
    found = [
        *(ObservedEntry(line.at, "line", line=line) for line in observed.lines[:LINES_ON_PAGE]),
        *(ObservedEntry(one.at, "trace", waterfall=one) for one in waterfalls(observed.spans[:SPANS_ON_PAGE])),
    ]
    return sorted([*story.entries, *found], key=lambda entry: entry.at)
