"""Messages of Amazon SNS to an HTTPS endpoint: their form, what is signed of them, and which addresses in them are believed.

Fetching the certificate and checking the signature with it needs the network and is `SnsSignatures`' business (`ports.py`).
Sources: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html,
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html (checked 2026-11-27)
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from interlock.core.desk.alerts.model import URL_CHARACTERS_MAX
from interlock.core.desk.alerts.reading import Place
from interlock.core.kernel.clock import DAY, MINUTE, Millis
from interlock.core.kernel.errors import Unauthenticated

MESSAGE_CHARACTERS_MAX = 262_144
"""SNS carries no more than 256 KiB."""
AGE_MAX: Millis = DAY
"""An older message is refused. SNS gives up repeating an HTTPS delivery long before, unless told otherwise."""
AHEAD_MAX: Millis = 5 * MINUTE
REMEMBERED: Millis = AGE_MAX + AHEAD_MAX
"""How long a message's id must be remembered, so that none is taken twice."""

NOTIFICATION = "Notification"
SUBSCRIPTION, UNSUBSCRIPTION = "SubscriptionConfirmation", "UnsubscribeConfirmation"
_TYPES = {name: name for name in (NOTIFICATION, SUBSCRIPTION, UNSUBSCRIPTION)}
_VERSIONS = {"1": "1", "2": "2"}
TOPIC_PATTERN = r"^arn:aws(?:-cn|-us-gov)?:sns:[a-z0-9-]{4,30}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?\Z"


class SnsMessage(NamedTuple):
    """One message as it came. Nothing in it may be believed before its signature is."""

    type: str
    message_id: str
    topic_arn: str
    message: str
    timestamp: str
    sent_at: Millis
    signature_version: str
    """1: SHA1withRSA; 2: SHA256withRSA."""
    signature: str
    """Base64."""
    signing_cert_url: str
    subject: str | None = None
    subscribe_url: str | None = None
    token: str | None = None

    @property
    def is_notification(self) -> bool:
        return self.type == NOTIFICATION


def read_envelope(body: Place) -> SnsMessage:
    """Raises Invalid for what is no SNS message. Texts are taken exactly: a changed character breaks the signature."""
    kind: str = body.at("Type").one_of(_TYPES)
    sent_at = body.at("Timestamp").time()
    if sent_at is None:
        raise body.at("Timestamp").fault("required", "an RFC 3339 time is needed here")
    version: str = body.at("SignatureVersion").one_of(_VERSIONS)
    confirms = kind != NOTIFICATION
    return SnsMessage(
        type=kind,
        message_id=_exact(body.at("MessageId"), 100),
        topic_arn=_exact(body.at("TopicArn"), 400),
        message=_exact(body.at("Message"), MESSAGE_CHARACTERS_MAX),
        timestamp=_exact(body.at("Timestamp"), 40),
        sent_at=sent_at,
        signature_version=version,
        signature=_exact(body.at("Signature"), 2_000),
        signing_cert_url=_exact(body.at("SigningCertURL"), URL_CHARACTERS_MAX),
        subject=None if confirms or body.at("Subject").value is None else _exact(body.at("Subject"), 1_000),
        subscribe_url=_exact(body.at("SubscribeURL"), URL_CHARACTERS_MAX) if confirms else None,
        token=_exact(body.at("Token"), 2_000) if confirms else None,
    )


def string_to_sign(message: SnsMessage) -> bytes:
    """Names and values, each on a line of its own, in the order of names; a notification without subject has no such lines."""
    named: list[tuple[str, str | None]] = [("Message", message.message), ("MessageId", message.message_id)]
    if message.is_notification:
        named.append(("Subject", message.subject))
    else:
        named.append(("SubscribeURL", message.subscribe_url))
    named.append(("Timestamp", message.timestamp))
    if not message.is_notification:
        named.append(("Token", message.token))
    named += [("TopicArn", message.topic_arn), ("Type", message.type)]
    return "".join(f"{name}\n{value}\n" for name, value in named if value is not None).encode("utf-8", "surrogatepass")


def check_message(message: SnsMessage, *, topic_arn: str, now: Millis) -> None:
    """Everything that can be told without the certificate. Raises Unauthenticated."""
    if message.topic_arn != topic_arn:
        raise Unauthenticated("the message is not from this source's topic", code="wrong_topic")
    if not now - AGE_MAX <= message.sent_at <= now + AHEAD_MAX:
        raise Unauthenticated("the message is too old, or from the future", code="stale")
    if not is_certificate_url(message.signing_cert_url, topic_arn):
        raise Unauthenticated("the certificate is not at Amazon SNS", code="bad_certificate_url")
    if message.subscribe_url is not None and not is_subscribe_url(message.subscribe_url, topic_arn):
        raise Unauthenticated("the subscription is not to be confirmed at Amazon SNS", code="bad_subscribe_url")


def is_certificate_url(url: str, topic_arn: str) -> bool:
    """Whether it is a certificate at the SNS of the topic's own region, by https."""
    host, path, query = _parts(url)
    return host == _host(topic_arn) and _CERTIFICATE.fullmatch(path) is not None and not query


def is_subscribe_url(url: str, topic_arn: str) -> bool:
    """Whether it confirms a subscription to that topic, at the SNS of its region, and does nothing else."""
    host, path, query = _parts(url)
    if host != _host(topic_arn) or path not in ("", "/"):
        return False
    try:
        pairs = parse_qsl(query, strict_parsing=True, max_num_fields=10)
    except ValueError:
        return False
    given = dict(pairs)
    return (
        len(given) == len(pairs)
        and set(given) <= {"Action", "TopicArn", "Token", "Version"}
        and given.get("Action") == "ConfirmSubscription"
        and given.get("TopicArn") == topic_arn
    )


def _parts(url: str) -> tuple[str, str, str]:
    """Host, path and query of an https URL on its usual port without credentials; empty texts for any other."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "", "", ""
    try:
        parts = urlsplit(url)
        if parts.scheme != "https" or "@" in parts.netloc or parts.port not in (None, 443) or parts.fragment:
            return "", "", ""
        return parts.hostname or "", parts.path, parts.query
    except ValueError:
        return "", "", ""


def _host(topic_arn: str) -> str:
    """sns.<region>.amazonaws.com, with .cn behind it in China."""
    _, partition, _, region, *_ = [*topic_arn.split(":"), "", "", "", ""]
    end = ".cn" if partition == "aws-cn" else ""
    return f"sns.{region}.amazonaws.com{end}" if _REGION.fullmatch(region) else "-"


def _exact(place: Place, most: int) -> str:
    if not isinstance(place.value, str) or not place.value:
        raise place.fault("required" if place.value is None else "wrong_type", "text is needed here")
    if len(place.value) > most:
        raise place.fault("bad_length", f"at most {most} characters")
    return place.value


_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9_-]{1,128}\.pem")
