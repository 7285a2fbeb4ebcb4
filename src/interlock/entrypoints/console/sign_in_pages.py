"""Signing in and out, and proving once more who is there."""

from __future__ import annotations

from typing import Any

from interlock.core.desk.operators.handlers import COOKIE_CHARS, sign_in, sign_out, step_up
from interlock.core.desk.operators.model import SESSION_MAX
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.errors import Forbidden, Unauthenticated, Unavailable
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.guards import place_to_go
from interlock.entrypoints.console.issuer_pages import cookies_for, count_sign_in, leave_issuer
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went
from interlock.entrypoints.http.problems import row_of

REFUSALS = (Unauthenticated, Forbidden, Unavailable)


def sign_in_pages(desk: Desk) -> list[Page]:
    operators = desk.operators

    def page_of(to: str, *, wrong: str = "", name: str = "") -> dict[str, Any]:
        issuer = operators.at_issuer.trusted.name if operators.at_issuer else ""
        return {
            "title": "Sign in",
            "to": to,
            "wrong": wrong,
            "name": name,
            "issuer": issuer,
            "passwords": operators.passwords,
        }

    def proof_of(to: str, wrong: str = "") -> dict[str, Any]:
        issuer = operators.at_issuer.trusted.name if operators.at_issuer else ""
        return {"title": "Prove it is you", "to": to, "wrong": wrong, "issuer": issuer}

    async def form(asked: Asked) -> Reply:
        to = place_to_go(asked.query.get("to", ROOT))
        if asked.who is not None:
            return Went(to)
        return Shown("sign_in.html", page_of(to))

    async def enter(asked: Asked) -> Reply:
        to, name = place_to_go(asked.form.get("to", ROOT)), asked.form.get("name", "")
        try:
            cookie = await sign_in(operators, name=name, password=asked.form.get("password", ""), address=asked.client)
        except REFUSALS as error:
            count_sign_in(desk, "password", error.reason)
            return Shown("sign_in.html", page_of(to, wrong=error.detail, name=name), row_of(error).status)
        assert len(cookie) == COOKIE_CHARS
        count_sign_in(desk, "password", "signed_in")
        cookies = cookies_for(desk)
        return Went(to, headers=(cookies.set(cookies.session, cookie, max_age_s=SESSION_MAX // 1000),))

    async def leave(asked: Asked) -> Reply:
        if asked.me.session.issuer:
            return await leave_issuer(desk, asked.me)
        await sign_out(operators, asked.me)
        cookies = cookies_for(desk)
        return Went(f"{ROOT}/sign-in", headers=(cookies.set(cookies.session, "", max_age_s=0),))

    async def prove_form(asked: Asked) -> Reply:
        return Shown("prove.html", proof_of(place_to_go(asked.query.get("to", ROOT))))

    async def prove(asked: Asked) -> Reply:
        to = place_to_go(asked.form.get("to", ROOT))
        try:
            await step_up(operators, asked.me, asked.form.get("password", ""))
        except REFUSALS as error:
            count_sign_in(desk, "password", error.reason)
            return Shown("prove.html", proof_of(to, error.detail), row_of(error).status)
        count_sign_in(desk, "password", "proved")
        return Went(to, "Proved. For ten minutes you may go on.")

    return [
        Page("GET", "/sign-in", form, None),
        Page("POST", "/sign-in", enter, None),
        Page("POST", "/sign-out", leave, Permission.SEE),
        Page("GET", "/prove", prove_form, Permission.SEE),
        Page("POST", "/prove", prove, Permission.SEE),
    ]
