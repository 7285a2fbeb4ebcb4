"""Templates, and how money, times and ids look in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from interlock.core.desk.operators.identities import shown_name
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, SECOND, Millis, parse_rfc3339, rfc3339
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.ledger.export import decimal

TEMPLATES = Path(__file__).parent / "templates"
NOTHING = Markup('<span class="none">–</span>')


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "money": money,
        "ago": ago,
        "until": ago,
        "short": short,
        "number": number,
        "percent": percent,
        "words": words,
        "as_json": as_json,
        "pretty": pretty,
        "day_time": day_time,
        "took": took,
        "milliseconds": milliseconds,
        "person": shown_name,
        "or_dash": lambda value: NOTHING if value in (None, "") else value,
    }
    return made


def money(amount: int, currency: str) -> Markup:
    """Grouped, with the currency's own decimals."""
    if currency not in EXPONENTS:
        return Markup("{} {}").format(amount, currency)
    whole, dot, rest = decimal(abs(amount), currency).partition(".")
    grouped = f"{int(whole):,}".replace(",", "\u202f")
    sign = "−" if amount < 0 else ""
    return Markup('<span class="money">{}{}{}{} <abbr>{}</abbr></span>').format(sign, grouped, dot, rest, currency)


def number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def percent(part: int, whole: int) -> str:
    """Of nothing: a dash. Never rounded up to 100."""
    if not whole:
        return "–"
    shown = part * 1000 // whole
    return f"{shown // 10}.{shown % 10}\u202f%"


def ago(at: Millis | str | None, now: Millis) -> Markup:
    """Relative, with the exact time beneath."""
    if at is None:
        return NOTHING
    instant = parse_rfc3339(at) if isinstance(at, str) else at
    exact = rfc3339(instant)
    text = _relative(now - instant)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, text)


def _relative(passed: Millis) -> str:
    away = abs(passed)
    if away < 5 * SECOND:
        return "now"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if away >= unit:
            return f"{away // unit}\u202f{name} ago" if passed > 0 else f"in {away // unit}\u202f{name}"
    return "now"


def day_time(at: Millis | str) -> str:
    """UTC, to the second."""
    exact = at if isinstance(at, str) else rfc3339(at)
    return exact[:19].replace("T", " ")


def took(attempt: Any) -> str:
    """How long an attempt took, of its view."""
    if attempt.finished_at is None:
        return "–"
    passed = parse_rfc3339(attempt.finished_at) - parse_rfc3339(attempt.started_at)
    return f"{number(passed)}\u202fms" if passed < 10 * SECOND else f"{number(passed // SECOND)}\u202fs"


def milliseconds(us: int) -> str:
    """Of a span: to the hundredth where it took none."""
    if us < 10_000:
        return f"{us // 1_000}.{us % 1_000 // 10:02d}\u202fms"
    return f"{number(us // 1_000)}\u202fms"


def short(id: str) -> Markup:
    """An id by its ends; the whole of it on hover, and when it is copied."""
    prefix, _, tail = id.partition("_")
    if len(tail) != 26:
        return escape(id)
    return Markup('<span class="id" title="{}">{}_…{}</span>').format(id, prefix, tail[-6:])


def words(name: str) -> str:
    """`captured_not_posted` as people say it."""
    return name.replace("_", " ").replace(".", " ")


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def pretty(value: Any) -> str:
    """JSON to read; text that is JSON is laid out, other text stays."""
    if isinstance(value, str):
        try:
            return msgspec.json.format(value, indent=2)
        except msgspec.DecodeError:
            return value
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
