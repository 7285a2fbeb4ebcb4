"""Providers, queues, webhooks and the ledger, across merchants."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.explain.search import merchants
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.overview.handlers import look
from interlock.core.kernel.clock import DAY, HOUR, parse_rfc3339
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.ledger.handlers import journals_of, read_balances
from interlock.core.ledger.projection import JOURNALS
from interlock.core.routing.handlers import SwitchedOff
from interlock.core.webhooks.handlers import list_endpoints, retry_delivery
from interlock.core.webhooks.listing import Wanted, find_deliveries
from interlock.core.webhooks.views import delivery_view, endpoint_view
from interlock.entrypoints.console.asking import request_of
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.overview_pages import chart
from interlock.entrypoints.console.pages import CHOICES_MAX, ROOT, Asked, Page, Reply, Shown, Went

PAGE = 50
WHY_MAX = 200


def platform_pages(desk: Desk) -> list[Page]:
    return [*_provider_pages(desk), *_webhook_pages(desk), *_ledger_pages(desk)]


def _provider_pages(desk: Desk) -> list[Page]:
    platform = desk.platform

    async def every(asked: Asked) -> Reply:
        seen = await look(desk.tallies, since=asked.now - HOUR, until=asked.now)
        off = await platform.payments.rules.switched_off()
        lanes = {lane.provider: lane for lane in seen.lanes}
        context = {
            "title": "Providers",
            "rows": [(name, desk.breaker(name), off.get(name), lanes.get(name)) for name in platform.engine.names()],
        }
        return Shown("providers.html", context)

    async def one(asked: Asked) -> Reply:
        name = _known(asked)
        seen = await look(desk.tallies, since=asked.now - DAY, until=asked.now)
        can = platform.engine.capabilities(name)
        context = {
            "title": name,
            "name": name,
            "health": desk.breaker(name),
            "off": (await platform.payments.rules.switched_off()).get(name),
            "lanes": [lane for lane in seen.lanes if lane.provider == name],
            "success": chart(msgspec.structs.replace(seen, points={name: seen.points.get(name, ())})),
            "can": {
                "operations": ", ".join(sorted(can.actions)),
                "methods": ", ".join(sorted(can.methods)),
                "currencies": "every one" if can.currencies is None else ", ".join(sorted(can.currencies)),
                "partial captures": "yes" if can.partial_capture else "no",
                "several captures": "yes" if can.multiple_captures else "no",
                "lookup by our reference": "yes" if can.lookup_by_our_reference else "no",
            },
        }
        return Shown("provider.html", context)

    async def switch(asked: Asked) -> Reply:
        name, wanted = _known(asked), asked.form.get("to")
        why = asked.form.get("why", "").strip()[:WHY_MAX]
        if wanted not in ("on", "off") or not why:
            raise Invalid(faults=(Fault("/form/why", "required", "say why: it is what the next person reads"),))
        who = asked.me.session.operator
        off = SwitchedOff(who, asked.now, why) if wanted == "off" else None
        put, event = audit_event(
            desk.operators.ids,
            asked.now,
            actor=who,
            action=f"provider.switched_{wanted}",
            target=name,
            tenant=PLATFORM,
            detail={"why": why},
        )
        await platform.payments.rules.switch(name, off, platform.engine, also=[put], events=[event])
        return Went(f"{ROOT}/providers/{name}", f"{name} is switched {wanted}. Every node knows within two seconds.")

    def _known(asked: Asked) -> str:
        if asked.params["provider"] not in platform.engine.names():
            raise NotFound("no such provider")
        return asked.params["provider"]

    return [
        Page("GET", "/providers", every, Permission.SEE),
        Page("GET", "/providers/{provider}", one, Permission.SEE),
        Page("POST", "/providers/{provider}/switch", switch, Permission.SWITCH_PROVIDER),
    ]


def _webhook_pages(desk: Desk) -> list[Page]:
    webhooks, documents = desk.platform.webhooks, desk.platform.storage.documents

    async def some(asked: Asked) -> Reply:
        known = await merchants(documents, limit=CHOICES_MAX)
        merchant = asked.query.get("merchant") or (known[0] if known else "")
        status: Any = asked.query.get("status")
        wanted = Wanted(endpoint=asked.query.get("endpoint"), status=status)
        found = await find_deliveries(webhooks, merchant, wanted, limit=PAGE, after=asked.query.get("after"))
        context = {
            "title": "Webhooks",
            "merchants": known,
            "merchant": merchant,
            "status": status,
            "statuses": ("pending", "delivered", "dead", "canceled"),
            "endpoints": [endpoint_view(one) for one in await list_endpoints(webhooks, merchant)],
            "deliveries": [(delivery_view(one), one.aggregate) for one in found.deliveries],
            "next": found.next,
        }
        return Shown("webhooks.html", context)

    async def retry(asked: Asked) -> Reply:
        merchant = asked.form.get("merchant", "")
        await retry_delivery(webhooks, asked.params["delivery"], request_of(asked, merchant, desk.operators.ids))
        return Went(f"{ROOT}/webhooks?merchant={merchant}", "It will be sent once more in a moment.")

    return [
        Page("GET", "/webhooks", some, Permission.SEE),
        Page("POST", "/webhooks/{delivery}/retry", retry, Permission.RETRY_DELIVERIES),
    ]


def _ledger_pages(desk: Desk) -> list[Page]:
    storage = desk.platform.storage

    async def ledger(asked: Asked) -> Reply:
        known = await merchants(storage.documents, limit=CHOICES_MAX)
        merchant = asked.query.get("merchant") or (known[0] if known else "")
        at = asked.query.get("at")
        try:
            instant = parse_rfc3339(at if at.endswith("Z") else f"{at}Z") if at else None
        except ValueError:
            raise Invalid(faults=(Fault("/query/at", "bad_time", "at is a time in UTC"),)) from None
        balances = await read_balances(storage.store, merchant, now=asked.now, at=instant) if merchant else None
        where = {
            name: value
            for name, value in journals_of(
                account=asked.query.get("account"), payment=asked.query.get("payment"), day=asked.query.get("day")
            ).items()
            if value is not None
        }
        found = await storage.documents.find(
            JOURNALS.name, tenant=merchant, where=where, after=asked.query.get("after"), limit=PAGE + 1
        )
        context = {
            "title": "Ledger",
            "merchants": known,
            "merchant": merchant,
            "balances": balances,
            "at": (at or "")[:16],
            "account": asked.query.get("account"),
            "journals": [msgspec.json.decode(one.body) for one in found[:PAGE]],
            "next": found[PAGE - 1].id if len(found) > PAGE else None,
        }
        return Shown("ledger.html", context)

    return [Page("GET", "/ledger", ledger, Permission.SEE)]
