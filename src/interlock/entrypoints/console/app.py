"""The console as an ASGI application: one request from its cookie to its page, every refusal a page, too.

The order of the checks: path, method, where it comes from, session, body, form token, permission. A page that is not for
anybody and has no session leads to the sign-in page and from there back.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import quote

from interlock.core.desk.operators.handlers import SignedIn, allow, recognise
from interlock.core.desk.operators.ports import Operators
from interlock.core.kernel import ids
from interlock.core.kernel.errors import Forbidden, InterlockError, Unauthenticated, Unavailable
from interlock.core.kernel.telemetry import Telemetry
from interlock.entrypoints.console.guards import (
    SECURITY,
    Cookies,
    check_form,
    cookies_of,
    refuse_strangers,
    said_in,
)
from interlock.entrypoints.console.live import Live
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Pages, Reply, Sent, Shown, Went, pairs_of
from interlock.entrypoints.console.rendering import environment
from interlock.entrypoints.http.app import Receive, Scope, Send
from interlock.entrypoints.http.bodies import Disconnected, read_body
from interlock.entrypoints.http.problems import row_of

Headers = list[tuple[str, str]]


class Frame(NamedTuple):
    """What stands around every page."""

    navigation: Sequence[Any]
    static: Callable[[str], str]
    """Name of a file -> its address behind ROOT."""


class _Made(NamedTuple):
    """A reply, ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ConsoleApp:
    """Everything under ROOT."""

    def __init__(
        self,
        pages: Sequence[Page],
        *,
        operators: Operators,
        telemetry: Telemetry,
        origin: str,
        frame: Frame,
        live: Live,
    ) -> None:
        """`origin` is the URL at which the platform is reached."""
        self.pages = Pages(pages)
        self._operators = operators
        self._telemetry = telemetry
        self._origin = origin
        self._cookies = Cookies(secure=origin.startswith("https:"))
        self._templates = environment()
        self._frame = frame
        self._live = live

    def close(self) -> None:
        self._live.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = self._operators.ids.new(ids.REQUEST)
        cookies = cookies_of(headers.get("cookie", ""))
        place = "none"
        page: Page | None = None
        asked: Asked | None = None
        try:
            page, params = self.pages.find(_method(scope), scope["path"].removeprefix(ROOT) or "/")
            place = page.path
            asked = await self._asked(page, params, scope, headers, cookies, receive)
            if page.path == "/live" and self._live.streams:
                await self._live.stream(asked.me, receive, send, [*SECURITY])
                return
            reply = await page.endpoint(asked)
        except Disconnected:
            return
        except InterlockError as error:
            reply = self._refusal(error, scope, headers, request_id)
        except Exception as error:  # a fault of ours: reported here, and nothing of it shown
            self._report(error, place, request_id)
            reply = self._refusal(InterlockError(), scope, headers, request_id)
        try:
            made = await self._made(reply, asked, cookies)
        except Exception as error:  # a fault of ours in a template or around it: a page says so, too
            self._report(error, place, request_id)
            made = await self._made_of_fault(
                self._refusal(InterlockError(), scope, headers, request_id), asked, cookies
            )
        await self._send(send, made, is_head=scope["method"] == "HEAD")
        self._telemetry.observe(
            "interlock_http_request_duration_seconds",
            perf_counter() - started,
            route=f"{ROOT}{place}",
            method=scope["method"] if page else "other",
            status=str(made.status),
        )

    async def _asked(
        self,
        page: Page,
        params: Mapping[str, str],
        scope: Scope,
        headers: Mapping[str, str],
        cookies: Mapping[str, str],
        receive: Receive,
    ) -> Asked:
        changes = page.method == "POST"
        if changes:
            refuse_strangers(headers, self._origin)
        cookie = cookies.get(self._cookies.session, "")
        who: SignedIn | None = None
        try:
            who = await recognise(self._operators, cookie)
        except Unauthenticated:
            if page.permission is not None:
                raise
        raw = await read_body(receive, page.form_bytes) if changes else b""
        form = pairs_of(raw.decode("utf-8", "replace"), "/form", page.field_chars) if changes else {}
        query = scope["query_string"].decode("latin-1")
        if changes and who is not None:
            check_form(who, form, headers)
        if page.permission is not None and who is not None:
            allow(self._operators, who, page.permission)
        return Asked(
            who,
            params,
            pairs_of(query, "/query"),
            form,
            self._operators.clock.now(),
            headers.get("hx-request") == "true",
            cookie,
            cookies.get(self._cookies.errand, ""),
            scope["path"] + (f"?{query}" if query else ""),
            str((scope.get("client") or ("",))[0]),
        )

    def _refusal(
        self,
        error: InterlockError,
        scope: Scope,
        headers: Mapping[str, str],
        request_id: str,
    ) -> Reply:
        status = row_of(error).status
        here = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        back = here if scope["method"] == "GET" else headers.get("referer", ROOT).removeprefix(self._origin)
        if isinstance(error, Unauthenticated) and scope["path"] != f"{ROOT}/sign-in":
            return Went(f"{ROOT}/sign-in?to={quote(back)}")
        if isinstance(error, Forbidden) and error.reason == "step_up":
            return Went(f"{ROOT}/prove?to={quote(back)}", error.detail)
        faults = getattr(error, "faults", ())
        more: Headers = []
        if isinstance(error, Unavailable):
            more.append(("retry-after", str(max(1, error.retry_after_s))))
        context = {
            "title": row_of(error).title,
            "status": status,
            "detail": error.detail if status != 500 else "",
            "faults": faults,
            "back": back,
            "request_id": request_id,
        }
        return Shown("error.html", context, status, more)

    async def _made(self, reply: Reply, asked: Asked | None, cookies: Mapping[str, str]) -> _Made:
        headers: Headers = [*SECURITY, *reply.headers]
        if isinstance(reply, Went):
            body, media_type = b"", "text/plain; charset=utf-8"
            target = ("hx-redirect", reply.to) if asked is not None and asked.is_fragment else ("location", reply.to)
            status = 204 if target[0] == "hx-redirect" else 303
            headers.append(target)
            if reply.said:
                headers.append(self._cookies.say(reply.said))
        elif isinstance(reply, Sent):
            status, body, media_type = reply.status, reply.body, reply.media_type
        else:
            status, media_type = reply.status, "text/html; charset=utf-8"
            said = said_in(cookies.get(self._cookies.flash, ""))
            if said and not (asked and asked.is_fragment):
                headers.append(self._cookies.set(self._cookies.flash, "", max_age_s=0))
            who = asked.who if asked else await self._known(cookies)
            body = self._render(reply, asked, who, said).encode()
        if not any(name == "cache-control" for name, _ in headers):
            headers.append(("cache-control", "no-store"))
        if status != 204:
            headers += [("content-type", media_type), ("content-length", str(len(body)))]
        return _Made(status, [(name.encode(), value.encode("latin-1")) for name, value in headers], body)

    async def _made_of_fault(self, reply: Reply, asked: Asked | None, cookies: Mapping[str, str]) -> _Made:
        """As a page, or in plain words where no page can be made: the fault itself is reported already."""
        try:
            return await self._made(reply, asked, cookies)
        except Exception:  # the frame around every page is what is broken
            return await self._made(Sent(b"A fault of ours.", "text/plain; charset=utf-8", status=500), asked, cookies)

    async def _send(self, send: Send, made: _Made, *, is_head: bool) -> None:
        await send({"type": "http.response.start", "status": made.status, "headers": made.headers})
        await send({"type": "http.response.body", "body": b"" if is_head else made.body, "more_body": False})

    async def _known(self, cookies: Mapping[str, str]) -> SignedIn | None:
        """For the frame around a refusal."""
        try:
            return await recognise(self._operators, cookies.get(self._cookies.session, ""))
        except InterlockError:
            return None

    def _render(self, reply: Shown, asked: Asked | None, who: SignedIn | None, said: str) -> str:
        around = {
            "root": ROOT,
            "asked": asked,
            "who": who,
            "csrf": who.session.csrf if who else "",
            "now": self._operators.clock.now(),
            "said": said,
            "navigation": self._frame.navigation,
            "static": self._frame.static,
            "streams": self._live.streams,
        }
        return self._templates.get_template(reply.template).render({**around, **reply.context})

    def _report(self, error: Exception, place: str, request_id: str) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        self._telemetry.error(
            "http.request_failed",
            request_id=request_id,
            route=f"{ROOT}{place}",
            error=f"{type(error).__name__} at {where}",
        )


def _method(scope: Scope) -> str:
    return "GET" if scope["method"] == "HEAD" else str(scope["method"])
