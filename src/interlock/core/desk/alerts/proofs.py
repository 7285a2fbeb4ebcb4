"""Whether a webhook comes from the source it says it comes from.

| proof | what is checked |
|---|---|
| bearer | `Authorization: Bearer TOKEN` |
| basic | `Authorization: Basic`, the source's id as user name and the token as password |
| routing_key | `routing_key` in the body |
| hmac | hex HMAC-SHA256 of `timestamp:body`; see `SIGNATURE_HEADERS` |
| sns | the signature of Amazon SNS, and the topic |

Grafana leaves the timestamp out unless it is told a name for its header; here one is needed, or whatever was once sent could
be sent again. Source: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
("HMAC signature", checked 2026-11-27)
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from interlock.core.access.audit import PLATFORM
from interlock.core.access.credentials import secret_matches
from interlock.core.desk.alerts.model import AlertFormat, Source, SourceProof
from interlock.core.desk.alerts.pagerduty import routing_key_in
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.reading import decoded
from interlock.core.desk.alerts.sns import REMEMBERED, SnsMessage, check_message, read_envelope
from interlock.core.kernel.clock import MINUTE, SECOND, Millis
from interlock.core.kernel.errors import Unauthenticated

TIMESTAMP_WINDOW: Millis = 5 * MINUTE
"""How far a signed timestamp may be from now, either way."""
SIGNATURE_HEADERS: Mapping[AlertFormat, tuple[str, str]] = {
    AlertFormat.GRAFANA: ("x-grafana-alerting-signature", "x-grafana-alerting-timestamp"),
    AlertFormat.GENERIC: ("x-interlock-signature", "x-interlock-timestamp"),
}
"""Signature (hex), timestamp (seconds since 1970). In Grafana the second is what "Timestamp Header" is to be set to."""


class Delivery(NamedTuple):
    """What the proof says of this one webhook."""

    id: str | None
    """The same if it is sent again, and only then. None: this proof does not tell repeats."""
    remembered_until: Millis
    message: SnsMessage | None
    """Of sns."""


async def prove(d: AlertDesk, source: Source, headers: Mapping[str, str], raw: bytes, now: Millis) -> Delivery:
    """`headers` have names in lower case. Raises Unauthenticated; Invalid where the proof stands in a body that cannot be read;
    Unavailable if it cannot be told now."""
    if source.proof is SourceProof.SNS:
        return await _prove_sns(d, source, raw, now)
    if source.proof is SourceProof.HMAC:
        return await _prove_signature(d, source, headers, raw, now)
    if source.proof is SourceProof.ROUTING_KEY:
        presented = routing_key_in(decoded(raw))
    else:
        presented = presented_token(headers, user=source.id if source.proof is SourceProof.BASIC else None)
    if not secret_matches(() if source.digest is None else (source.digest,), presented, now):
        raise refused()
    return Delivery(None, now, None)


def refuse_unknown(headers: Mapping[str, str], now: Millis) -> Unauthenticated:
    """For a source that does not exist: takes as long, and says the same, as a wrong token."""
    secret_matches((), presented_token(headers, user=None), now)
    return refused()


def refused() -> Unauthenticated:
    return Unauthenticated("this webhook does not prove that it comes from a source we know", code="bad_proof")


def presented_token(headers: Mapping[str, str], *, user: str | None) -> str:
    """The bearer token, or the password that belongs to `user`; empty if there is none."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if user is None:
        return rest.strip() if scheme.lower() == "bearer" else ""
    if scheme.lower() != "basic":
        return ""
    try:
        name, _, password = b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:  # what is no base64 and what is no UTF-8
        return ""
    return password if name == user else ""


def signature_of(secret: str, timestamp: str, raw: bytes) -> str:
    return hmac.digest(secret.encode(), timestamp.encode() + b":" + raw, "sha256").hex()


async def _prove_signature(
    d: AlertDesk, source: Source, headers: Mapping[str, str], raw: bytes, now: Millis
) -> Delivery:
    signature_header, timestamp_header = SIGNATURE_HEADERS[source.format]
    given, timestamp = headers.get(signature_header, ""), headers.get(timestamp_header, "")
    if source.secret is None or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise refused()
    secret = await d.safe.take_out(source.secret, tenant=PLATFORM, endpoint=source.id)
    signature = signature_of(secret.reveal(), timestamp, raw)
    if not hmac.compare_digest(signature.encode(), given.strip().lower().encode("utf-8", "surrogatepass")):
        raise refused()
    sent_at = int(timestamp) * SECOND
    if abs(now - sent_at) > TIMESTAMP_WINDOW:
        raise Unauthenticated("the webhook was signed too long ago, or the clocks differ", code="stale")
    return Delivery(signature, sent_at + 2 * TIMESTAMP_WINDOW, None)


async def _prove_sns(d: AlertDesk, source: Source, raw: bytes, now: Millis) -> Delivery:
    message = read_envelope(decoded(raw))
    check_message(message, topic_arn=source.topic_arn or "", now=now)
    await d.sns.verify(message)
    # The id is a stranger's text until it is verified, and still no part of a key before it is hashed.
    return Delivery(sha256(message.message_id.encode("utf-8", "surrogatepass")).hexdigest(), now + REMEMBERED, message)
