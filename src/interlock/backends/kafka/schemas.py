"""The schema of events at a registry, checked before anything is published: consumers elsewhere rely on it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.events import Event
from interlock.core.kernel.secrets import Secret


@dataclass(frozen=True, slots=True)
class Registry:
    url: str
    key: str = ""
    secret: Secret | None = None
    register: bool = False
    """Whether a new version is registered here; otherwise a release does that, and this one must be known already."""
    framed: bool = False
    """Whether values begin with Confluent's five bytes: a zero and the schema's number. Both sides must agree."""


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What `check` found: where the schema is, and what each event's value begins with."""

    url: str
    number: int
    prefix: bytes


_SHAPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    msgspec.Raw: {"type": "object"},
}


def event_schema() -> str:
    """JSON Schema of the envelope; `data` and `facts` are open, as each type of event has its own."""
    fields = msgspec.structs.fields(Event)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:interlock:event",
        "title": "Event",
        "type": "object",
        "properties": {one.encode_name: _SHAPES[one.type] for one in fields},
        "required": [one.encode_name for one in fields if one.required],
    }
    return json.dumps(schema, sort_keys=True)


async def check(registry: Registry, topic: str) -> EventSchema:
    """Register this release's schema for the full topic name `topic`, or see that it is known.

    Raises Invalid if the registry refuses it or does not know it, with what to do next; StoreUnavailable.
    """
    return await asyncio.to_thread(_check, registry, f"{topic}-value")


def _check(registry: Registry, subject: str) -> EventSchema:
    settings: dict[str, Any] = {"url": registry.url, "timeout": 10, "max.retries": 1}
    if registry.secret is not None:
        settings["basic.auth.user.info"] = f"{registry.key}:{registry.secret.reveal()}"
    schema = Schema(event_schema(), "JSON")
    try:
        with SchemaRegistryClient(settings) as client:
            if registry.register:
                number = client.register_schema(subject, schema)
            else:
                number = client.lookup_schema(subject, schema).schema_id
    except SchemaRegistryError as error:
        raise _refusal(error, subject) from error
    except Exception as error:  # the HTTP client below raises errors of its own, which nobody else should have to know
        raise StoreUnavailable("the schema registry does not answer") from error
    assert number is not None
    prefix = b"\x00" + number.to_bytes(4, "big") if registry.framed else b""
    return EventSchema(f"{registry.url.rstrip('/')}/schemas/ids/{number}", number, prefix)


def _refusal(error: SchemaRegistryError, subject: str) -> Exception:
    if error.http_status_code == 409:
        return Invalid(
            f"the schema registry finds this release's events incompatible with {subject}: "
            "add fields only with defaults, or release consumers first and register under a new topic"
        )
    if error.http_status_code == 404:
        return Invalid(f"the schema registry does not know this release's schema as {subject}: register it, then start")
    if error.http_status_code in (401, 403):
        return Invalid(f"the schema registry refuses the credentials for {subject}: check its key and its access rules")
    return StoreUnavailable(f"the schema registry answers {error.http_status_code}")
