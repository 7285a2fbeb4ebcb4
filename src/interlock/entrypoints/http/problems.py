"""Errors as the outside sees them: RFC 9457 problem documents, and the one table from error classes to HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from interlock.core.desk.queries.model import QueryStopped
from interlock.core.kernel.errors import (
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    InterlockError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    RateLimited,
    Rejected,
    RequestInFlight,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    WriteConflict,
)


class Row(NamedTuple):
    """What an error class becomes."""

    status: int
    title: str
    advice: str
    """For the caller: what to do next."""


STATUSES: Mapping[type[InterlockError], Row] = MappingProxyType(
    {
        InterlockError: Row(500, "Internal error", "Repeat with the same Idempotency-Key; report the request_id."),
        Rejected: Row(400, "Rejected", "Nothing happened. Repeating gives the same answer."),
        Invalid: Row(400, "Invalid request", "Nothing happened. Correct what `errors` names."),
        Unauthenticated: Row(401, "Not authenticated", "Get a token from POST /oauth/token."),
        Forbidden: Row(403, "Not allowed", "Ask for a token with the scope that WWW-Authenticate names."),
        NotFound: Row(404, "Not found", "There is no such thing in your tenant."),
        MethodNotAllowed: Row(405, "Method not allowed", "Use a method that Allow lists."),
        Conflict: Row(409, "Conflict", "The thing's state does not allow this. Read it before trying anything else."),
        WriteConflict: Row(409, "Concurrent change", "Nothing happened. Repeat with the same Idempotency-Key."),
        RequestInFlight: Row(
            409, "Request in flight", "Wait for Retry-After, then repeat with the same Idempotency-Key."
        ),
        PayloadTooLarge: Row(413, "Body too large", "Nothing happened. Send less."),
        UnsupportedMediaType: Row(415, "Unsupported media type", "Nothing happened. Send application/json in UTF-8."),
        IdempotencyKeyReused: Row(422, "Idempotency key reused", "Nothing happened. Use a new key for a new request."),
        QueryStopped: Row(422, "Query stopped", "Nothing was changed. Ask for less: a shorter time, fewer rows."),
        RateLimited: Row(429, "Too many requests", "Nothing happened. Wait for Retry-After."),
        Unavailable: Row(503, "Unavailable", "Nothing happened. Wait for Retry-After and repeat with the same key."),
        StoreUnavailable: Row(
            503, "Store unavailable", "Nothing happened. Wait for Retry-After and repeat with the same key."
        ),
        OutcomeUnknown: Row(
            503,
            "Outcome unknown",
            "It may have happened. Repeat with the same Idempotency-Key to learn which; never with a new one.",
        ),
    }
)
"""One row for every error class; a test proves it. OutcomeUnknown is 503 because repeating with the same key is safe."""

BY_STATUS: Mapping[int, tuple[type[InterlockError], ...]] = MappingProxyType(
    {
        status: tuple(kind for kind, row in STATUSES.items() if row.status == status)
        for status in sorted({row.status for row in STATUSES.values()})
    }
)

TYPE_PREFIX = "urn:interlock:problem:"
Pointer = Annotated[
    str, Meta(description="RFC 6901 pointer into the body; parameters stand under /query, /header or /path.")
]


class FaultView(msgspec.Struct, frozen=True):
    """One thing wrong with a request."""

    pointer: Pointer
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem document."""

    type: Annotated[str, Meta(description="Names the class of the error.", examples=[TYPE_PREFIX + "invalid_request"])]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    code: Annotated[str, Meta(description="Stable and precise; see the list of errors.", examples=["invalid_request"])]
    request_id: str
    errors: list[FaultView]


def row_of(error: InterlockError) -> Row:
    """The row of the error's own class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        row = STATUSES.get(kind)
        if row is not None:
            return row
    return STATUSES[InterlockError]


def problem_of(error: InterlockError, request_id: str) -> Problem:
    """The document for `error`. Of a fault of ours it says nothing but where to look."""
    row = row_of(error)
    if row.status == 500:
        return Problem(TYPE_PREFIX + "internal", row.title, 500, row.advice, "internal", request_id, [])
    faults = [FaultView(*fault) for fault in error.faults] if isinstance(error, Invalid) else []
    return Problem(
        TYPE_PREFIX + error.code, row.title, row.status, error.detail or row.advice, error.reason, request_id, faults
    )


encode_problem = msgspec.json.Encoder().encode
