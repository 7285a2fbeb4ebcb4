"""How sources, rules, alerts and received signals stand in the store: keys, index entries, and the one place where a
source's signing secret becomes bytes.

An alert's partition follows from its key. The newest alert of the key stands there as `alert`, so that two who open it at
the same time meet at one item; one that it took the place of stands beside it under its id, and changes no more.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from interlock.core.desk.alerts.model import (
    ALERTS_KEPT,
    SIGNALS_KEPT,
    Alert,
    Received,
    Source,
    place_of,
)
from interlock.core.desk.alerts.rules import AlertRule
from interlock.core.kernel.clock import Millis, utc_day
from interlock.core.kernel.secrets import reveal_secret, wrap_secret
from interlock.core.kernel.store import ABSENT, Item, Key, Put

BY_ID = "desk_alerts"
"""Index: ALL -> alert id, all alerts."""
BY_STATE = "desk_alerts_by_state"
"""Index: a state's partition -> alert id."""
INDEXES = (BY_ID, BY_STATE)
"""For whoever makes the store."""
ALL = "~desk/alerts"
SOURCES = "~desk/alert_sources"
RULES = Key("~desk/alert_rules", "current")
_CURRENT, _PLACED = "alert", "placed"


class RuleSet(msgspec.Struct, frozen=True):
    """All rules, in their order."""

    version: int
    """0 when there never was one."""
    rules: tuple[AlertRule, ...]
    updated_at: Millis
    updated_by: str


class HeldAlert(NamedTuple):
    alert: Alert
    key: Key
    item_version: int


class Placed(msgspec.Struct, frozen=True):
    """Where the signals of one fingerprint were put last, if it was not into an alert of their own."""

    key: str


# -- sources -----------------------------------------------------------------------------------------------------------


def source_key(source_id: str) -> Key:
    return Key(SOURCES, source_id)


def source_write(source: Source, expected: int) -> Put:
    return Put(source_key(source.id), _secret_encoder.encode(source), expected)


def decode_source(item: Item) -> Source:
    return _source_decoder.decode(item.value)


def seen_write(source_id: str, delivery: str, until: Millis) -> Put:
    """Remember that a delivery was taken."""
    return Put(seen_key(source_id, delivery), b"-", ABSENT, {}, until)


def seen_key(source_id: str, delivery: str) -> Key:
    return Key(f"~desk/alert_seen/{source_id}", delivery)


# -- rules -------------------------------------------------------------------------------------------------------------


def rules_write(rules: RuleSet, expected: int) -> Put:
    return Put(RULES, _encoder.encode(rules), expected)


def decode_rules(item: Item) -> RuleSet:
    return _rules_decoder.decode(item.value)


# -- alerts ------------------------------------------------------------------------------------------------------------


def current_key(place: str) -> Key:
    return Key(f"{ALL}/{place}", _CURRENT)


def past_key(place: str, alert_id: str) -> Key:
    return Key(f"{ALL}/{place}", alert_id)


def state_partition(state: str) -> str:
    return f"{ALL}/{state}"


def alert_write(alert: Alert, key: Key, expected: int) -> Put:
    return Put(
        key,
        _encoder.encode(alert),
        expected,
        {BY_ID: Key(ALL, alert.id), BY_STATE: Key(state_partition(alert.state), alert.id)},
        None if alert.resolved_at is None else alert.resolved_at + ALERTS_KEPT,
    )


def held_alert(item: Item) -> HeldAlert:
    return HeldAlert(decode_alert(item), item.key, item.version)


def decode_alert(item: Item) -> Alert:
    return _alert_decoder.decode(item.value)


def placed_key(own_key: str) -> Key:
    return Key(f"{ALL}/{place_of(own_key)}", _PLACED)


def placed_write(own_key: str, key: str, expected: int, now: Millis) -> Put:
    return Put(placed_key(own_key), _encoder.encode(Placed(key)), expected, {}, now + ALERTS_KEPT)


def decode_placed(item: Item) -> Placed:
    return _placed_decoder.decode(item.value)


# -- received signals --------------------------------------------------------------------------------------------------


def signals_partition(day: str) -> str:
    return f"~desk/alert_signals/{day}"


def signal_write(received: Received, signal_id: str) -> Put:
    key = Key(signals_partition(utc_day(received.at)), f"{signal_prefix(received.at)}/{signal_id}")
    return Put(key, _encoder.encode(received), ABSENT, {}, received.at + SIGNALS_KEPT)


def signal_prefix(at: Millis) -> str:
    """Sorts by time."""
    return f"{at:013d}"


def decode_received(item: Item) -> Received:
    return _received_decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_secret_encoder = msgspec.json.Encoder(enc_hook=reveal_secret)
_source_decoder = msgspec.json.Decoder(Source, dec_hook=wrap_secret)
_rules_decoder = msgspec.json.Decoder(RuleSet)
_alert_decoder = msgspec.json.Decoder(Alert)
_placed_decoder = msgspec.json.Decoder(Placed)
_received_decoder = msgspec.json.Decoder(Received)
