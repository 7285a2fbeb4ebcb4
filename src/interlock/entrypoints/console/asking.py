"""What a person asks, as core's commands want it."""

from __future__ import annotations

from interlock.core.kernel import ids
from interlock.core.kernel.clock import Millis, parse_rfc3339
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.ids import Ids
from interlock.entrypoints.console.pages import Asked


def request_of(asked: Asked, merchant: str, new_ids: Ids) -> Request:
    """Without an idempotency key: what is asked here is safe to repeat, or shows that it was done."""
    return Request(merchant, None, "", f"desk:{asked.me.session.operator}", new_ids.new(ids.REQUEST), "")


def time_of(text: str | None, otherwise: Millis, name: str) -> Millis:
    """`2026-11-27T08:00` as a browser sends it, which is UTC here, or RFC 3339. Raises Invalid."""
    if text is None:
        return otherwise
    try:
        return parse_rfc3339(text if text.endswith("Z") or "+" in text else f"{text}Z")
    except ValueError:
        raise Invalid(faults=(Fault(f"/query/{name}", "bad_time", f"{name} is a time in UTC"),)) from None
