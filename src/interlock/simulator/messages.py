"""What goes over the wire, as values: requests, replies, how a reply is (mis)delivered, notifications and their signatures."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.secrets import Secret

TIMESTAMP_HEADER = "simulator-timestamp"
SIGNATURE_HEADER = "simulator-signature"


class Request(NamedTuple):
    method: str
    path: str
    """Without query and without the instance's prefix."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class Manner(StrEnum):
    """How a reply is delivered."""

    ANSWER = "answer"
    RESET = "reset"
    """Not at all: the connection is reset."""
    HANG = "hang"
    """Not at all: silence for `hang_s`, then a reset."""
    TRUNCATED = "truncated"
    STALLED = "stalled"
    HUGE = "huge"
    ENDLESS = "endless"


class Notice(NamedTuple):
    """One notification to the merchant."""

    instance: str
    id: str
    body: bytes


class Reaction(NamedTuple):
    """What to do about a request. Whatever was booked is booked already."""

    reply: Reply
    manner: Manner = Manner.ANSWER
    delay_s: float = 0.0
    hang_s: float = 0.0
    first: tuple[Notice, ...] = ()
    """Notifications that go out before the answer."""


class NoticeDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    object: str
    id: str
    type: str
    created_at: Millis
    instance: str
    operation: Any = None
    dispute: Any = None


class DisputeDocument(msgspec.Struct, frozen=True):
    id: str
    status: str
    charge: str
    amount: int
    currency: str
    reason: str
    metadata: Mapping[str, str]


def json_reply(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, _encoder.encode(document), headers)


def refusal(status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return json_reply(status, {"error": {"code": code, "message": message}}, headers)


def signature_headers(body: bytes, secrets: Sequence[Secret], *, at: Millis) -> dict[str, str]:
    """One signature for each secret that is valid at present, so that receivers can change over at their leisure."""
    timestamp = str(at // 1_000)
    signed = timestamp.encode() + b"." + body
    marks = [hmac.new(secret.reveal().encode(), signed, sha256).hexdigest() for secret in secrets]
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: ",".join(f"v1={mark}" for mark in marks)}


_encoder = msgspec.json.Encoder()
encode = _encoder.encode
