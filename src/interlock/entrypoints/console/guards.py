"""Against other sites: cookies, the form token, and what a browser may load or do here."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from interlock.core.desk.operators.handlers import SignedIn
from interlock.core.kernel.errors import Forbidden
from interlock.entrypoints.console.pages import ROOT

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY: tuple[tuple[str, str], ...] = (
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
FLASH_S = 60
FLASH_CHARS_MAX = 300


class Cookies(NamedTuple):
    """Names and attributes. Over HTTPS a name's prefix has the browser see to it that nobody else can have set it."""

    secure: bool

    @property
    def session(self) -> str:
        return "__Host-interlock-desk" if self.secure else "interlock-desk"

    @property
    def flash(self) -> str:
        return "__Host-interlock-said" if self.secure else "interlock-said"

    @property
    def errand(self) -> str:
        """What a sign-in at an issuer must come back with."""
        return "__Host-interlock-errand" if self.secure else "interlock-errand"

    def set(self, name: str, value: str, *, max_age_s: int | None = None) -> tuple[str, str]:
        """The header. Lax, not Strict: an issuer's answer, and a link in an alert, come from another site."""
        parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts += ["Secure"] if self.secure else []
        parts += [f"Max-Age={max_age_s}"] if max_age_s is not None else []
        return "set-cookie", "; ".join(parts)

    def say(self, text: str) -> tuple[str, str]:
        """Words for the next page."""
        return self.set(self.flash, quote(text[:FLASH_CHARS_MAX], safe=""), max_age_s=FLASH_S)


def cookies_of(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            found.setdefault(name, value)
    return found


def said_in(value: str) -> str:
    return unquote(value)[:FLASH_CHARS_MAX]


def refuse_strangers(headers: Mapping[str, str], own: str) -> None:
    """A change asked for by another site's page. Raises Forbidden.

    Browsers say where a request comes from by one header or the other; what sends neither is no browser and has no cookie.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        raise Forbidden("this was asked for by another site", code="cross_site")
    if origin is not None and origin != "null" and urlsplit(origin)[:2] != urlsplit(own)[:2]:
        raise Forbidden("this was asked for by another site", code="cross_site")
    if origin == "null" and site is None:
        raise Forbidden("this was asked for by another site", code="cross_site")


def check_form(who: SignedIn, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """The token that only a page of this session holds. Raises Forbidden."""
    given = form.get("csrf") or headers.get("x-csrf-token", "")
    if not hmac.compare_digest(given.encode(), who.session.csrf.encode()):
        raise Forbidden("this form is too old; load the page again", code="bad_form_token")


def place_to_go(wanted: str) -> str:
    """A path of the console, whatever somebody put into a link."""
    parts = urlsplit(wanted)
    inside = parts.path == ROOT or parts.path.startswith(f"{ROOT}/")
    if parts.scheme or parts.netloc or not inside or "\\" in wanted or any(ord(char) < 32 for char in wanted):
        return ROOT
    return wanted
