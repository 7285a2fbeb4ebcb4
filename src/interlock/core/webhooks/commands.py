"""What merchants ask for."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.webhooks.events import DELIVERABLE
from interlock.core.webhooks.model import ALL

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        description="https, of a public host.",
        extra_json_schema={"pattern": r"^https?://[A-Za-z0-9\[][!$-;=?-\[\]_a-z~]*\Z"},
    ),
]
EventName = Annotated[str, Meta(min_length=1, max_length=64, extra_json_schema={"enum": [ALL, *sorted(DELIVERABLE)]})]
"""Schemas of both are for the document; what is wrong with a value is told in more words by the handlers."""
EventNames = Annotated[
    list[EventName], Meta(min_length=1, max_length=50, description='Event types, or ["*"] for all of them.')
]
Description = Annotated[str, Meta(max_length=500)]


class CreateEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: Url
    events: EventNames
    description: Description | None = None


class UpdateEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays as it is."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    events: EventNames | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    rotate_secret: bool = False
    """Answer with a new secret. The one before it signs along for 24 hours, any older one no more."""
