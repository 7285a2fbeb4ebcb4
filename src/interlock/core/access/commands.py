"""What one can ask of access."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from interlock.core.access.model import SECRET_GRACE, TENANT_PATTERN
from interlock.core.access.signing_keys import PUBLISHED_FIRST
from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.errors import Invalid

Tenant = Annotated[str, Meta(pattern=TENANT_PATTERN)]
SCOPES_MAX = 64
PUBLIC_KEYS_CHARS_MAX = 16_384


class CreateClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: Tenant
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=SCOPES_MAX)]
    """`x:*` stands for every scope of x."""
    public_keys: Annotated[str, Meta(max_length=PUBLIC_KEYS_CHARS_MAX)] = ""
    """JWK Set (JSON) of a client that signs assertions; without one the client gets a secret."""
    api_version: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")] | None = None
    rate_per_s: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    rate_burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class RotateClientSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client_id: str
    grace: Annotated[Millis, Meta(ge=0, le=30 * DAY)] = SECRET_GRACE
    """How long the old secret works beside the new one."""


class DisableClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client_id: str
    reason: Annotated[str, Meta(max_length=500)] = ""


class RotateSigningKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delay: Annotated[Millis, Meta(ge=0, le=30 * DAY)] = PUBLISHED_FIRST
    """How long the new key is published before it signs."""
    drop_previous: bool = False
    """The old keys may have been seen by others: sign with the new one at once and refuse every older token."""


C = TypeVar("C", CreateClient, RotateClientSecret, DisableClient, RotateSigningKey)


def checked(command: C) -> C:
    """The command, if its fields keep their bounds: one that was not decoded has not been checked. Raises Invalid."""
    try:
        msgspec.convert(msgspec.structs.asdict(command), type(command))
    except msgspec.ValidationError as error:
        raise Invalid(str(error), code="invalid_command") from None
    return command


class IssueToken(msgspec.Struct, frozen=True):
    """A client that proved who it is asks for a token."""

    client_id: str
    scope: str | None = None
    """Words separated by spaces; None: everything the client may have."""
