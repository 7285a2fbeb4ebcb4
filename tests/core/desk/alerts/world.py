"""Alerts over memory adapters, with tools that send and an SNS that signs."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.desk.alerts.commands import CreateAlertSource, ReplaceAlertRules
from interlock.core.desk.alerts.handlers import Receipt, receive, take
from interlock.core.desk.alerts.listing import Wanted, find_alerts
from interlock.core.desk.alerts.model import Alert, AlertFormat, AlertSeverity, Signal, SignalState, SourceProof
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.rule_set import load_rules, replace_rules
from interlock.core.desk.alerts.rules import AlertRule
from interlock.core.desk.alerts.sns import SnsMessage, string_to_sign
from interlock.core.desk.alerts.sources import create_source
from interlock.core.desk.alerts.verdicts import Fate
from interlock.core.kernel.clock import SECOND, rfc3339
from interlock.core.kernel.errors import Unauthenticated
from interlock.core.kernel.idempotency import Request
from tests.clocks import ManualClock
from tests.telemetry import RecordingTelemetry

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SUBSCRIBE_URL = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=tok"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}  # what Amazon SNS's two versions of signatures use


def request(actor: str = "ada") -> Request:
    return Request("~platform", None, "", actor, "req_1")


class Sns:
    """Verifies with a key of its own instead of Amazon's certificate."""

    def __init__(self) -> None:
        self.confirmed: list[str] = []

    async def verify(self, message: SnsMessage) -> None:
        kind = _HASHES[message.signature_version]()
        try:
            _KEY.public_key().verify(b64decode(message.signature), string_to_sign(message), padding.PKCS1v15(), kind)
        except (InvalidSignature, ValueError):
            raise Unauthenticated("SNS did not sign this", code="bad_signature") from None

    async def confirm(self, subscribe_url: str) -> None:
        self.confirmed.append(subscribe_url)


class Contested:
    """A store in which somebody else is faster: `before_commit` runs once, before the next commit."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.before_commit: Any = None
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, writes: Any, events: Any = ()) -> None:
        rival, self.before_commit = self.before_commit, None
        if rival is not None:
            await rival()
        self.commits += 1
        await self._inner.commit(writes, events)


class World:
    def __init__(self, *, seed: int = 1) -> None:
        self.clock = ManualClock()
        self.random = random.Random(seed)
        self.memory = MemoryStore(self.clock)
        self.store: Any = Contested(self.memory)
        self.telemetry = RecordingTelemetry()
        self.sns = Sns()
        self.ids = SystemIds(self.clock, random_bits=self.random.getrandbits)
        self.d = AlertDesk(self.store, self.clock, self.ids, self.telemetry, self.sns, self.random.randbytes)

    async def source(
        self, id: str, format: AlertFormat, proof: SourceProof = SourceProof.BEARER, *, topic: str | None = None
    ) -> str:
        """Make a source; its token."""
        command = CreateAlertSource(id, id.title(), format, proof, topic)
        _, token = await create_source(self.d, command, request())
        return "" if token is None else token.reveal()

    async def rules(self, *rules: AlertRule) -> None:
        standing = await load_rules(self.d)
        await replace_rules(self.d, ReplaceAlertRules(standing.version, rules), request())

    async def fire(self, signal: Signal) -> Fate:
        return await take(self.d, (await load_rules(self.d)).rules, signal, self.clock.now())

    async def send(self, source: str, body: Any, **headers: str) -> Receipt:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await receive(self.d, source, {name.replace("_", "-"): text for name, text in headers.items()}, raw)

    async def alerts(self, wanted: Wanted = Wanted()) -> list[Alert]:  # noqa: B008 - a value that cannot change
        return (await find_alerts(self.d, wanted, limit=500)).alerts

    def webhooks(self) -> dict[tuple[str, str], int]:
        """How many were counted, by format and result."""
        return {
            (key[1][1], key[2][1]): count
            for key, count in self.telemetry.counts.items()
            if key[0] == "interlock_alert_webhooks_total"
        }

    def items(self) -> dict[Any, Any]:
        return dict(self.memory._items)

    def event_types(self) -> list[str]:
        return [event.type for event in self.memory._events if event.type != "audit.recorded"]

    def sns_body(self, message: str, *, kind: str = "Notification", version: str = "2", **changes: Any) -> Any:
        """A message as SNS would post it now, signed; `changes` replace fields after it was signed."""
        body: dict[str, Any] = {
            "Type": kind,
            "MessageId": f"id-{self.random.getrandbits(64):x}",
            "TopicArn": TOPIC,
            "Message": message,
            "Timestamp": rfc3339(self.clock.now()),
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
        }
        if kind == "Notification":
            body["Subject"] = 'ALARM: "x" in EU (Ireland)'
            names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        else:
            body |= {"SubscribeURL": SUBSCRIBE_URL, "Token": "tok"}
            names = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        # Written out here, so that a mistake in string_to_sign is one.
        text = "".join(f"{name}\n{body[name]}\n" for name in names)
        body["Signature"] = b64encode(_KEY.sign(text.encode(), padding.PKCS1v15(), _HASHES[version]())).decode()
        return body | changes


def signal(
    fingerprint: str = "f1",
    state: SignalState = SignalState.FIRING,
    *,
    source: str = "prom",
    name: str = "PaymentErrors",
    severity: AlertSeverity = AlertSeverity.ERROR,
    **labels: str,
) -> Signal:
    return Signal(source, fingerprint, name, severity, state, labels, f"{name} {fingerprint}")


def resolved(fingerprint: str = "f1", **labels: str) -> Signal:
    return signal(fingerprint, SignalState.RESOLVED, **labels)


def seconds(clock: ManualClock) -> str:
    return str(clock.now() // SECOND)
