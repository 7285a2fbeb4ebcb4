"""The events' schema at a registry; the registry is a stand-in of ours."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest

from interlock.backends.kafka.schemas import Registry, check, event_schema
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.secrets import Secret
from tests.backends.kafka.registry_stand_in import running_registry

EVENT = Event("evt_1", "payment.succeeded", "ten_1", "pay_1", 3, 1_800_000_000_123, msgspec.Raw(b'{"amount":5}'))


def test_every_event_fits_the_schema_and_what_lacks_a_field_does_not():
    schema = json.loads(event_schema())
    body = json.loads(encode_event(EVENT))
    jsonschema.validate(body, schema)
    for name in ("id", "type", "tenant", "aggregate", "version", "at"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in body.items() if key != name}, schema)


async def test_schema_is_registered_once_and_known_from_then_on():
    with running_registry() as (url, registered):
        first = await check(Registry(url, register=True), "interlock.events")
        again = await check(Registry(url), "interlock.events")
        assert first == again
        assert (first.url, first.prefix) == (f"{url}/schemas/ids/{first.number}", b"")
        assert registered.subjects == {"interlock.events-value": [event_schema()]}


async def test_values_are_framed_only_if_asked_for():
    with running_registry() as (url, _):
        schema = await check(Registry(url, register=True, framed=True), "interlock.events")
        assert schema.prefix == b"\x00" + schema.number.to_bytes(4, "big")


async def test_schema_that_is_not_known_is_invalid_and_says_what_to_do():
    with running_registry() as (url, registered):
        with pytest.raises(Invalid, match="register it, then start"):
            await check(Registry(url), "interlock.events")
        assert registered.subjects == {"interlock.events-value": []}


async def test_incompatible_schema_is_invalid_says_what_to_do_and_leaves_the_old_one():
    with running_registry() as (url, registered):
        older = json.loads(event_schema())
        older["properties"]["at"] = {"type": "string"}
        registered.subjects["interlock.events-value"] = [json.dumps(older)]
        with pytest.raises(Invalid, match="add fields only with defaults"):
            await check(Registry(url, register=True), "interlock.events")
        assert registered.subjects["interlock.events-value"] == [json.dumps(older)]


async def test_credentials_are_sent_and_printed_nowhere_and_their_refusal_says_what_to_do():
    with running_registry() as (url, registered):
        registry = Registry(url, "KEY", Secret("hush-hush"), register=True)
        assert "hush" not in repr(registry)
        await check(registry, "interlock.events")
        assert registered.authorisations == {"Basic S0VZOmh1c2gtaHVzaA=="}
        registered.refuses_credentials = True
        with pytest.raises(Invalid, match="check its key") as refused:
            await check(registry, "interlock.events")
        assert "hush" not in str(refused.value)


async def test_registry_that_is_down_is_unavailable():
    with running_registry() as (url, _):
        pass
    with pytest.raises(StoreUnavailable):
        await check(Registry(url), "interlock.events")
