"""Signing in at an OIDC issuer, and proving there once more who is there: out to it, and back from it."""

from __future__ import annotations

from urllib.parse import quote

from interlock.core.desk.operators.errands import arrive, set_out, take_up, way_out
from interlock.core.desk.operators.handlers import SignedIn, sign_out
from interlock.core.desk.operators.model import ERRAND_LASTS, SESSION_MAX, Errand
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.errors import InterlockError, NotFound, Rejected, Unavailable
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.guards import Cookies, place_to_go
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went
from interlock.entrypoints.http.problems import row_of

BACK = "/sign-in/callback"


def issuer_pages(desk: Desk) -> list[Page]:
    operators = desk.operators

    async def begin(asked: Asked) -> Reply:
        return await _set_out(desk, asked, None)

    async def prove(asked: Asked) -> Reply:
        return await _set_out(desk, asked, asked.me)

    async def back(asked: Asked) -> Reply:
        if operators.at_issuer is None:
            raise NotFound("there is no such page")
        cookies = cookies_for(desk)
        used = cookies.set(cookies.errand, "", max_age_s=0)
        errand: Errand | None = None
        try:
            errand = await take_up(operators, state=asked.query.get("state", ""), cookie=asked.errand)
            came = await arrive(
                operators, errand, asked.query, redirect_uri=redirect_uri(desk.platform.issuer), who=asked.who
            )
        except (Rejected, Unavailable) as error:
            count_sign_in(desk, "issuer", error.reason)
            # An answer that is not for this browser leaves alone what this browser has begun.
            return _refused(desk, error, errand, asked.who, [used] if errand else [])
        to = place_to_go(errand.to)
        count_sign_in(desk, "issuer", "signed_in" if came.cookie else "proved")
        if not came.cookie:
            return Went(to, "Proved. For ten minutes you may go on.", [used])
        return Went(to, headers=[used, cookies.set(cookies.session, came.cookie, max_age_s=SESSION_MAX // 1000)])

    return [
        Page("GET", "/sign-in/issuer", begin, None),
        Page("GET", BACK, back, None),
        Page("GET", "/prove/issuer", prove, Permission.SEE),
    ]


def cookies_for(desk: Desk) -> Cookies:
    return Cookies(secure=desk.platform.issuer.startswith("https:"))


def redirect_uri(origin: str) -> str:
    """Where the issuer sends people back to: registered there."""
    return f"{origin}{ROOT}{BACK}"


def signed_out_uri(origin: str) -> str:
    """Where it sends people who have signed out there: registered, too."""
    return f"{origin}{ROOT}/sign-in"


def count_sign_in(desk: Desk, way: str, result: str) -> None:
    desk.platform.storage.telemetry.count("interlock_sign_ins_total", way=way, result=result)


async def leave_issuer(desk: Desk, who: SignedIn) -> Reply:
    """Sign out here; the page after it leads on to the issuer, if one can sign out there.

    A page, not a redirect: browsers hold a form's redirects to `form-action`, and an issuer may pass through addresses
    that nobody here knows.
    """
    try:
        onward = await way_out(desk.operators, who, back_to=signed_out_uri(desk.platform.issuer))
    except Unavailable:
        onward = ""
    await sign_out(desk.operators, who)
    cookies = cookies_for(desk)
    at = desk.operators.at_issuer
    context = {"title": "Signed out", "onward": onward, "issuer": at.trusted.name if at else ""}
    return Shown("signed_out.html", context, headers=[cookies.set(cookies.session, "", max_age_s=0)])


async def _set_out(desk: Desk, asked: Asked, proving: SignedIn | None) -> Reply:
    to = place_to_go(asked.query.get("to", ROOT))
    if desk.operators.at_issuer is None or (proving is not None and not proving.session.issuer):
        raise NotFound("there is no such page")
    try:
        out = await set_out(
            desk.operators,
            redirect_uri=redirect_uri(desk.platform.issuer),
            to=to,
            address=asked.client,
            proving=proving,
        )
    except Unavailable as error:
        count_sign_in(desk, "issuer", error.reason)
        errand = Errand("", "", "", "", to, asked.now, session=proving.key.partition if proving else "")
        return _refused(desk, error, errand, asked.who, [])
    cookies = cookies_for(desk)
    return Went(out.url, headers=[cookies.set(cookies.errand, out.cookie, max_age_s=ERRAND_LASTS // 1000)])


def _refused(
    desk: Desk,
    error: InterlockError,
    errand: Errand | None,
    who: SignedIn | None,
    headers: list[tuple[str, str]],
) -> Reply:
    """Why not, and where to go from here."""
    to = place_to_go(errand.to) if errand else ROOT
    proving = bool(errand and errand.session and who)
    status = row_of(error).status
    context = {
        "title": "Not proved" if proving else "Already used" if who and not errand else "Not signed in",
        "detail": error.detail,
        "reason": error.reason,
        "again": f"{ROOT}/{'prove' if proving else 'sign-in'}?to={quote(to, safe='')}",
        "is_in": who is not None,
    }
    if isinstance(error, Unavailable):
        headers = [*headers, ("retry-after", str(max(1, error.retry_after_s)))]
    return Shown("sign_in_refused.html", context, status, headers)
