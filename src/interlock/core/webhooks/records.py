"""How endpoints and deliveries stand in the store: keys, index entries, and the one place where signing secrets are unwrapped.

What `_reveal` and `_wrap` turn into stored bytes and back is a secret as `sealing.py` has it stored.
"""

from __future__ import annotations

import msgspec

from interlock.core.kernel.secrets import reveal_secret, wrap_secret
from interlock.core.kernel.store import Item, Key, Put
from interlock.core.webhooks.model import KEPT, Delivery, Endpoint, Turn
from interlock.core.webhooks.states import STATUS, DeliveryState

REVISION = Key("webhook_endpoints", "revision")
"""Rewritten with every change of any endpoint, so that a cache of them can tell with one read whether it still holds."""
BY_TENANT = "webhook_deliveries"
"""Index: tenant -> delivery id, all deliveries."""
BY_STATUS = "webhook_deliveries_by_status"
"""Index: tenant/status -> delivery id, without those that arrived: they are nearly all."""


def endpoints_partition(tenant: str) -> str:
    return f"{tenant}/whe"


def endpoint_key(tenant: str, endpoint_id: str) -> Key:
    return Key(endpoints_partition(tenant), endpoint_id)


def endpoint_write(endpoint: Endpoint, expected: int) -> Put:
    return Put(endpoint_key(endpoint.tenant, endpoint.id), _endpoint_encoder.encode(endpoint), expected)


def decode_endpoint(item: Item) -> Endpoint:
    return _endpoint_decoder.decode(item.value)


def deliveries_partition(tenant: str, aggregate: str) -> str:
    return f"{tenant}/dlv/{aggregate}"


def lane_prefix(endpoint_id: str) -> str:
    return f"{endpoint_id}/"


def delivery_key(tenant: str, endpoint_id: str, aggregate: str, version: int) -> Key:
    return Key(deliveries_partition(tenant, aggregate), f"{lane_prefix(endpoint_id)}{version:010d}")


def delivery_write(delivery: Delivery, expected: int) -> Put:
    indexes = {BY_TENANT: Key(delivery.tenant, delivery.id)}
    if delivery.state is not DeliveryState.DELIVERED:
        indexes[BY_STATUS] = Key(status_partition(delivery.tenant, STATUS[delivery.state]), delivery.id)
    return Put(
        delivery_key(delivery.tenant, delivery.endpoint, delivery.aggregate, delivery.version),
        _encoder.encode(delivery),
        expected,
        indexes,
        None if delivery.finished_at is None else delivery.finished_at + KEPT,
    )


def status_partition(tenant: str, status: str) -> str:
    return f"{tenant}/{status}"


def decode_delivery(item: Item) -> Delivery:
    return _delivery_decoder.decode(item.value)


def encode_turn(turn: Turn) -> bytes:
    return _encoder.encode(turn)


def decode_turn(body: bytes) -> Turn:
    return _turn_decoder.decode(body)


_encoder = msgspec.json.Encoder()
_endpoint_encoder = msgspec.json.Encoder(enc_hook=reveal_secret)
_endpoint_decoder = msgspec.json.Decoder(Endpoint, dec_hook=wrap_secret)
_delivery_decoder = msgspec.json.Decoder(Delivery)
_turn_decoder = msgspec.json.Decoder(Turn)
