"""How a message of the Queue port stands in SQS: its body as text, and the rest in message attributes.

| attribute | what |
|---|---|
| `id` | the port's id; SQS gives a new one at every send, and a redriven message keeps its own |
| `sent-at` | milliseconds, by the sender's clock |
| `ready-at` | milliseconds; only where the delay is longer than SQS keeps one |
| `encoding` | `base64` where the bytes are no text that SQS takes |
| `attempts`, `died-at` | of a dead letter |

A message without them was sent by something else, EventBridge Scheduler for one: it has SQS's own id and time.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.queue import DeadLetter, QueueSpec

DELAY_MOST_S = 900
"""The longest delay of a send that SQS keeps."""
AWAY_MOST_S = 43_200
"""How long a message may be out of sight, from its receipt on."""
CONTENT_BYTES_MAX = 262_144 - 1_024
"""Of a body as it is sent; the rest is for the attributes."""
DEAD_SUFFIX = "-dead"
RETENTION_S = 1_209_600
"""14 days, the most there is."""
NET = 3
"""Further receipts after which SQS itself moves a message that no process lived long enough to bury."""
SYSTEM_ATTRIBUTES = ("ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SentTimestamp")
_NO_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Received(NamedTuple):
    """A message as it was received, from SQS or by a Lambda."""

    id: str
    body: bytes
    attempts: int
    """Receipts, this one included. One before the time a delayed message was sent for is not counted."""
    handle: str
    sent_at: Millis
    ready_at: Millis
    died_at: Millis | None
    first_received_at: Millis

    def letter(self) -> DeadLetter:
        """One that SQS itself moved has no time of death: when it was first received is the earliest it can be."""
        died_at = self.first_received_at if self.died_at is None else self.died_at
        return DeadLetter(self.id, self.body, self.attempts, self.sent_at, died_at)


def checked_content(body: bytes) -> tuple[str, dict[str, Any]]:
    """Of a new message. Raises Invalid when it is too long."""
    text, how = content(body)
    if len(text.encode()) > CONTENT_BYTES_MAX:
        raise Invalid(f"a message may have {CONTENT_BYTES_MAX} bytes, as base64 if it is no text")
    return text, how


def content(body: bytes) -> tuple[str, dict[str, Any]]:
    """A body as SQS takes it, and the attributes that say how."""
    try:
        text = body.decode()
        is_text = bool(text) and _NO_TEXT.search(text) is None
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        text = base64.b64encode(body).decode() or "="  # an empty text is none to SQS
    return text, {} if is_text else {"encoding": _text("base64")}


def attributes(message_id: str, *, sent_at: Millis, **numbers: int | None) -> dict[str, Any]:
    """`numbers` by the attribute's name with an underscore for the hyphen; None leaves it out."""
    made = {"id": _text(message_id), "sent-at": _number(sent_at)}
    return made | {name.replace("_", "-"): _number(value) for name, value in numbers.items() if value is not None}


def received(message: Mapping[str, Any]) -> Received:
    """An entry of a ReceiveMessage answer.

    What it says of a death is not heeded: it is alive again, sent back from the dead letters by AWS's console.
    """
    said = _said(message)
    return _received(message["MessageId"], message["Body"], message["ReceiptHandle"], message["Attributes"], said)


def received_dead(message: Mapping[str, Any]) -> Received:
    """The same, from the dead letters."""
    one, said = received(message), _said(message)
    died_at, attempts = _int(said.get("died-at")), _int(said.get("attempts"))
    return one if died_at is None or attempts is None else one._replace(died_at=died_at, attempts=attempts)


def received_by_lambda(record: Mapping[str, Any]) -> Received:
    """A record of the event that Lambda makes of messages.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html (shape as recorded in the tests)
    """
    said = {name: value.get("stringValue") or "" for name, value in record.get("messageAttributes", {}).items()}
    return _received(record["messageId"], record["body"], record["receiptHandle"], record["attributes"], said)


def definition(spec: QueueSpec, *, dead_arn: str) -> dict[str, str]:
    """Attributes of the queue, for the emulator and for tests; accounts get the same by Terraform."""
    return dead_definition() | {
        "VisibilityTimeout": str(round(spec.lease_s)),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": spec.attempts_max + NET}),
    }


def dead_definition() -> dict[str, str]:
    return {"MessageRetentionPeriod": str(RETENTION_S), "MaximumMessageSize": "262144", "SqsManagedSseEnabled": "true"}


def _received(sqs_id: str, text: str, handle: str, system: Mapping[str, str], said: Mapping[str, str]) -> Received:
    first_received_at = int(system["ApproximateFirstReceiveTimestamp"])
    sent_at = _int(said.get("sent-at")) or int(system["SentTimestamp"])
    ready_at = _int(said.get("ready-at")) or 0
    attempts = int(system["ApproximateReceiveCount"]) - (first_received_at < ready_at)
    body = _bytes(text, said.get("encoding", ""))
    return Received(said.get("id") or sqs_id, body, attempts, handle, sent_at, ready_at, None, first_received_at)


def _said(message: Mapping[str, Any]) -> dict[str, str]:
    return {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "base64":
        return text.encode()
    try:
        return base64.b64decode("" if text == "=" else text, validate=True)
    except (ValueError, binascii.Error):
        return text.encode()  # not ours: whoever handles it will say so


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _number(value: int) -> dict[str, str]:
    return {"DataType": "Number", "StringValue": str(value)}
