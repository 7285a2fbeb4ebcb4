"""Bulk repairs: preview, ask, approve, watch, stop."""

from __future__ import annotations

from interlock.core.desk.operators.identities import is_client, may_be_the_same
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.repair.handlers import ask_for_repair, decide_repair, stop_repair
from interlock.core.desk.repair.model import MOVES_MONEY, Action
from interlock.core.desk.repair.planning import plan
from interlock.core.desk.repair.records import list_repairs, load_page, see_repair
from interlock.core.kernel.errors import Fault, Invalid
from interlock.entrypoints.console.choosing import LISTED_CHARS_MAX, PREVIEWED_MAX, chosen, previewed
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went

SHOWN = 50


def repair_pages(desk: Desk) -> list[Page]:
    repairs = desk.platform.desk.repairs
    store = desk.platform.storage.store

    async def every(asked: Asked) -> Reply:
        found = await list_repairs(store, limit=SHOWN + 1, after=asked.query.get("after"))
        following = found[SHOWN - 1].id if len(found) > SHOWN else None
        return Shown("repairs.html", {"title": "Repairs", "repairs": found[:SHOWN], "next": following})

    async def preview(asked: Asked) -> Reply:
        given = {**asked.query, **{name: asked.form[name] for name in ("action", "ids") if name in asked.form}}
        action, ids = _action(given.get("action")), given.get("ids", "")
        found = await chosen(desk, asked, ids) if action else None
        context = {
            "title": "Repair",
            "action": action,
            "actions": list(Action),
            "moves_money": MOVES_MONEY,
            "ids": ids,
            "planned": await plan(repairs, action, found.each()) if action and found else None,
            "chosen": found,
            "previewed_max": PREVIEWED_MAX,
            "fields": {name: value for name, value in given.items() if name != "action"},
        }
        return Shown("repair_new.html", context)

    async def ask(asked: Asked) -> Reply:
        action = _action(asked.form.get("action"))
        if action is None:
            raise Invalid(faults=(Fault("/form/action", "required", "choose what to do"),))
        items = await previewed(desk, asked.form.get("payments", ""))
        made = await ask_for_repair(
            repairs, action, items, reason=asked.form.get("reason", ""), by=asked.me.session.operator
        )
        return Went(f"{ROOT}/repairs/{made.id}", "Asked for. Somebody else approves it.")

    async def one(asked: Asked) -> Reply:
        repair = await see_repair(store, asked.params["repair"])
        number = min(max(int(asked.query.get("page", "1")) if asked.query.get("page", "1").isdigit() else 1, 1), 100)
        number = min(number, max(repair.pages, 1))
        items, _ = await load_page(store, repair.id, number - 1)
        own = may_be_the_same(repair.requested_by, asked.me.session.operator)
        context = {"title": "Repair", "repair": repair, "items": items, "page": number}
        context |= {"own": own, "of_client": is_client(repair.requested_by)}
        return Shown("repair.html", context)

    async def approve(asked: Asked) -> Reply:
        await decide_repair(repairs, asked.params["repair"], by=asked.me.session.operator, approve=True)
        return Went(f"{ROOT}/repairs/{asked.params['repair']}", "Approved. It begins within seconds.")

    async def reject(asked: Asked) -> Reply:
        await decide_repair(repairs, asked.params["repair"], by=asked.me.session.operator, approve=False)
        return Went(f"{ROOT}/repairs/{asked.params['repair']}", "Rejected. Nothing was done.")

    async def stop(asked: Asked) -> Reply:
        await stop_repair(repairs, asked.params["repair"], by=asked.me.session.operator)
        return Went(f"{ROOT}/repairs/{asked.params['repair']}", "Stopped. What was done stays done.")

    return [
        Page("GET", "/repairs", every, Permission.SEE),
        Page("GET", "/repairs/new", preview, Permission.ASK_FOR_REPAIR),
        # By POST, too: the ids of a whole repair are longer than an address may be.
        Page("POST", "/repairs/new", preview, Permission.ASK_FOR_REPAIR, LISTED_CHARS_MAX),
        Page("POST", "/repairs", ask, Permission.ASK_FOR_REPAIR, LISTED_CHARS_MAX),
        Page("GET", "/repairs/{repair}", one, Permission.SEE),
        Page("POST", "/repairs/{repair}/approve", approve, Permission.APPROVE_REPAIR),
        Page("POST", "/repairs/{repair}/reject", reject, Permission.APPROVE_REPAIR),
        Page("POST", "/repairs/{repair}/stop", stop, Permission.ASK_FOR_REPAIR),
    ]


def _action(text: str | None) -> Action | None:
    return Action(text) if text in list(Action) else None
