"""What both comparators say and understand: the request's model, the answer, ids, the provider's message, tokens."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field

ISSUER = "http://127.0.0.1"
AUDIENCE = "interlock"
SCOPE = "payments:write"
KEPT_MS = 8 * 86_400_000
DEADLINE_MS = 40_000
CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF", "SEK", "NOK", "DKK", "PLN", "KWD")
TOKENS_REMEMBERED_MAX = 10_000


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CardToken(Strict):
    type: Literal["card"]
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]


class CreatePayment(Strict):
    amount: Annotated[int, Field(ge=1, le=2**53)]
    currency: Literal[CURRENCIES]  # type: ignore[valid-type]
    payment_method: CardToken
    capture_method: Literal["automatic"] = "automatic"
    reference: Annotated[str | None, Field(max_length=255)] = None
    description: Annotated[str | None, Field(max_length=255)] = None
    metadata: Annotated[dict[str, str], Field(max_length=20)] = {}


class Unauthenticated(Exception):
    """The bearer token is missing or not good."""


class Caller:
    """Who a good token speaks for."""

    __slots__ = ("expires_at", "tenant")

    def __init__(self, tenant: str, expires_at: float) -> None:
        self.tenant, self.expires_at = tenant, expires_at


class Tokens:
    """Checks bearer tokens. With `remember`, one that was good is not checked again until it expires."""

    def __init__(self, public_key: str, *, remember: bool) -> None:
        self._public_key = public_key
        self._remember = remember
        self._known: dict[str, Caller] = {}

    def caller(self, authorization: str) -> Caller:
        """Raises Unauthenticated."""
        known = self._known.get(authorization)
        if known is not None and known.expires_at > time.time():
            return known
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        try:
            claims = jwt.decode(token, self._public_key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.InvalidTokenError as error:
            raise Unauthenticated from error
        if SCOPE not in claims.get("scope", "").split():
            raise Unauthenticated
        caller = Caller(claims["tenant"], float(claims["exp"]))
        if self._remember:
            if len(self._known) >= TOKENS_REMEMBERED_MAX:
                self._known.clear()
            self._known[authorization] = caller
        return caller


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    """Sorts by time, so that the indexes grow at their end."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"


def fingerprint(body: bytes) -> str:
    return sha256(body).hexdigest()[:32]


def charge(*, attempt_id: str, payment_id: str, tenant: str, amount: int, currency: str, token: str) -> dict[str, Any]:
    """The body of POST /v1/charges, as our platform's adapter sends it."""
    return {
        "reference": attempt_id,
        "amount": amount,
        "currency": currency,
        "token": token,
        "capture": True,
        "metadata": {"attempt_id": attempt_id, "payment_id": payment_id, "tenant": tenant},
    }


def instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def answer(
    *,
    payment_id: str,
    status: str,
    amount: int,
    captured: int,
    currency: str,
    provider: str,
    reference: str | None,
    description: str | None,
    metadata: dict[str, str],
    card: dict[str, Any] | None,
    attempt_id: str,
    outcome: str,
    capture_id: str,
    created_at: int,
    updated_at: int,
) -> dict[str, Any]:
    """The JSON of a payment, with the fields our platform answers with."""
    return {
        "id": payment_id,
        "object": "payment",
        "status": status,
        "amount": amount,
        "currency": currency,
        "amount_authorized": captured,
        "amount_captured": captured,
        "amount_refunded": 0,
        "amount_disputed": 0,
        "capture_method": "automatic",
        "provider": provider,
        "customer": None,
        "reference": reference,
        "description": description,
        "metadata": metadata,
        "payment_method": {"type": "card", "card": card},
        "next_action": None,
        "decline": None,
        "cancel_reason": None,
        "attempts": [
            {
                "id": attempt_id,
                "provider": provider,
                "operation": "authorize",
                "outcome": outcome,
                "decline": None,
                "started_at": instant(created_at),
                "finished_at": instant(updated_at),
            }
        ],
        "captures": [{"id": capture_id, "amount": captured}] if captured else [],
        "refunds": [],
        "disputes": [],
        "authorization_expires_at": None,
        "version": 2,
        "created_at": instant(created_at),
        "updated_at": instant(updated_at),
    }
