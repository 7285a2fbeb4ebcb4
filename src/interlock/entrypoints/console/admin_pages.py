"""Who may do what here, and what was done."""

from __future__ import annotations

from interlock.core.access.audit import PLATFORM, list_audit
from interlock.core.access.audit_chain import verify
from interlock.core.desk.explain.search import merchants
from interlock.core.desk.operators.handlers import add_operator, disable_operator
from interlock.core.desk.operators.records import list_operators
from interlock.core.desk.operators.roles import ALLOWED, DANGEROUS, Permission, Role
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Conflict, Fault, Invalid
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import CHOICES_MAX, ROOT, Asked, Page, Reply, Shown, Went

SHOWN = 100


def admin_pages(desk: Desk) -> list[Page]:
    storage, operators = desk.platform.storage, desk.operators

    async def people(asked: Asked) -> Reply:
        context = {
            "title": "People",
            "people": await list_operators(storage.store),
            "roles": list(Role),
            "permissions": list(Permission),
            "allowed": ALLOWED,
            "dangerous": DANGEROUS,
        }
        return Shown("people.html", context)

    async def add(asked: Asked) -> Reply:
        form = asked.form
        if form.get("role") not in list(Role):
            raise Invalid(faults=(Fault("/form/role", "required", "choose a role"),))
        await add_operator(
            operators,
            name=form.get("name", ""),
            role=Role(form["role"]),
            password=form.get("password", ""),
            actor=asked.me.session.operator,
        )
        return Went(f"{ROOT}/people", f"{form.get('name')} may sign in.")

    async def disable(asked: Asked) -> Reply:
        name = asked.params["name"]
        if name.lower() == asked.me.session.operator.lower():
            raise Conflict("nobody shuts themselves out", code="own_account")
        await disable_operator(operators, name=name, actor=asked.me.session.operator)
        return Went(f"{ROOT}/people", f"{name} may not sign in any more.")

    async def audit(asked: Asked) -> Reply:
        day, tenant = asked.query.get("day") or utc_day(asked.now), asked.query.get("merchant") or PLATFORM
        page = await list_audit(storage.store, tenant=tenant, day=day, after=asked.query.get("after"), limit=SHOWN)
        context = {
            "title": "Audit trail",
            "records": page.records,
            "next": page.next,
            "day": day,
            "merchant": tenant,
            "tenants": [PLATFORM, *await merchants(storage.documents, limit=CHOICES_MAX)],
            "verified": await verify(storage.store) if asked.query.get("verify") else None,
        }
        return Shown("audit.html", context)

    return [
        Page("GET", "/people", people, Permission.SEE_AUDIT),
        Page("POST", "/people", add, Permission.MANAGE_OPERATORS),
        Page("POST", "/people/{name}/disable", disable, Permission.MANAGE_OPERATORS),
        Page("GET", "/audit", audit, Permission.SEE_AUDIT),
    ]
