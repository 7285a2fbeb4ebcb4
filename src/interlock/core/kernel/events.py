"""Events: what happened, in the past tense, committed with the change that made it happen."""

from __future__ import annotations

import re

import msgspec

from interlock.core.kernel.clock import Millis


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One committed change of one aggregate. Consumers are idempotent by `id`."""

    id: str
    """evt_..."""
    type: str
    """`noun.verb_past`, e.g. payment.succeeded: the public contract's words."""
    tenant: str
    aggregate: str
    """The id of the thing that changed. Events of one aggregate are ordered; others are not."""
    version: int
    """The aggregate's version after this change: 1, 2, 3 ... without gaps."""
    at: Millis
    data: msgspec.Raw = msgspec.Raw(b"{}")
    """What merchants see as `data`: a JSON object with a snapshot of the thing as this commit left it."""
    facts: msgspec.Raw = msgspec.Raw(b"{}")
    """What only the platform and its operators see: journal, attempt, redacted provider exchange, who asked, why."""
    trace: str = ""
    """W3C traceparent of the work that committed it, or empty."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_event(raw: bytes) -> Event:
    return _decoder.decode(raw)


def id_of(raw: bytes) -> str:
    """The id of an encoded event, without decoding the rest: it stands first. Empty if it does not."""
    found = _ID_FIRST.match(raw)
    return found[1].decode() if found else ""


_ID_FIRST = re.compile(rb'\{"id":"(\w+)"')
