"""What happens on each command of access. Every change is one commit, together with its audit record."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.access.claims import access_claims
from interlock.core.access.commands import (
    CreateClient,
    DisableClient,
    IssueToken,
    RotateClientSecret,
    RotateSigningKey,
    checked,
)
from interlock.core.access.credentials import new_secret, superseded
from interlock.core.access.model import Client, ClientSecret
from interlock.core.access.ports import Access
from interlock.core.access.rates import RateLimit
from interlock.core.access.records import client_write, load_client
from interlock.core.access.scopes import SCOPES, expand, scope_text
from interlock.core.access.signing_keys import SigningKey, active_key, keep_keys, load_keys, next_key, with_new_key
from interlock.core.kernel.errors import Conflict, Fault, Forbidden, Invalid, WriteConflict
from interlock.core.kernel.ids import CLIENT
from interlock.core.kernel.secrets import Secret

TOKEN_ID = "atk"


class NewClient(NamedTuple):
    client: Client
    secret: Secret | None
    """Show it now: it is kept nowhere. None for a client that signs assertions."""


class IssuedToken(NamedTuple):
    token: str
    scope: str
    lifetime_s: int

    def __repr__(self) -> str:
        return f"IssuedToken(scope={self.scope!r}, lifetime_s={self.lifetime_s})"


async def create_client(a: Access, command: CreateClient, *, actor: str) -> NewClient:
    """Raises Invalid for an unknown scope, unfit public keys or a field out of bounds."""
    scopes = expand(checked(command).scopes)
    if (command.rate_per_s is None) != (command.rate_burst is None):
        raise Invalid(faults=(Fault("/rate_burst", "incomplete", "rate_per_s and rate_burst come together"),))
    if command.public_keys:
        a.keys.check_public_keys(command.public_keys)
    now = a.clock.now()
    secret: Secret | None = None
    digests: tuple[ClientSecret, ...] = ()
    if not command.public_keys:
        secret, digest = new_secret(a.token_bytes, now)
        digests = (digest,)
    client = Client(
        id=a.ids.new(CLIENT),
        tenant=command.tenant,
        name=command.name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created_at=now,
        secrets=digests,
        public_keys=command.public_keys,
        api_version=command.api_version,
        rate=_rate(command.rate_per_s, command.rate_burst),
    )
    put, event = audit_event(
        a.ids,
        now,
        actor=actor,
        action="client.created",
        target=client.id,
        tenant=client.tenant,
        detail={"name": client.name, "scope": scope_text(scopes)},
    )
    await a.store.commit([client_write(client), put], [event])
    return NewClient(client, secret)


async def rotate_client_secret(
    a: Access, command: RotateClientSecret, *, actor: str, tenant: str | None = None
) -> NewClient:
    """A new secret; the old one works for `grace` more. Raises NotFound, Conflict for a client that has none."""
    held = await load_client(a.store, checked(command).client_id, tenant=tenant)
    if held.client.public_keys:
        raise Conflict("this client signs assertions and has no secret", code="client_has_keys")
    if held.client.disabled_at is not None:
        raise Conflict("this client is disabled", code="client_disabled")
    now = a.clock.now()
    secret, digest = new_secret(a.token_bytes, now)
    secrets = superseded(held.client.secrets, digest, grace=command.grace)
    client = msgspec.structs.replace(held.client, secrets=secrets)
    put, event = audit_event(
        a.ids,
        now,
        actor=actor,
        action="client.secret_rotated",
        target=client.id,
        tenant=client.tenant,
        detail={"grace_ms": command.grace},
    )
    await a.store.commit([client_write(client, expected=held.version), put], [event])
    return NewClient(client, secret)


async def disable_client(a: Access, command: DisableClient, *, actor: str, tenant: str | None = None) -> Client:
    """No more tokens; those it has are refused within seconds. Safe to repeat: the second time changes nothing."""
    held = await load_client(a.store, checked(command).client_id, tenant=tenant)
    if held.client.disabled_at is not None:
        return held.client
    now = a.clock.now()
    client = msgspec.structs.replace(held.client, disabled_at=now)
    put, event = audit_event(
        a.ids,
        now,
        actor=actor,
        action="client.disabled",
        target=client.id,
        tenant=client.tenant,
        detail={"reason": command.reason},
    )
    await a.store.commit([client_write(client, expected=held.version), put], [event])
    return client


async def issue_token(a: Access, client: Client, command: IssueToken) -> IssuedToken:
    """Raises Forbidden (code invalid_scope) for a scope the client may not have: less than asked for is never given."""
    allowed = frozenset(client.scopes)
    if command.scope is None:
        granted = allowed
    else:
        try:
            granted = expand(command.scope.split())
        except Invalid:
            raise Forbidden("no such scope", code="invalid_scope") from None
        if not granted or not granted <= allowed:
            raise Forbidden("this client may not have that scope", code="invalid_scope")
    claims = access_claims(
        a.own,
        client_id=client.id,
        tenant=client.tenant,
        scopes=granted,
        token_id=a.ids.new(TOKEN_ID),
        now=a.clock.now(),
        lifetime=a.lifetime,
    )
    return IssuedToken(await a.tokens.sign(claims), claims["scope"], a.lifetime // 1000)


async def ensure_signing_key(a: Access) -> None:
    """Make the first signing key unless there is one. For the start of the platform."""
    if active_key(await load_keys(a.secrets), a.clock.now()) is None:
        await rotate_signing_key(a, RotateSigningKey(delay=0), actor="platform")


async def rotate_signing_key(a: Access, command: RotateSigningKey, *, actor: str) -> SigningKey:
    """A new key, published now and signing after `delay`. Raises Conflict while an earlier rotation's delay runs.

    The audit record comes first: a rotation may be recorded and not carried out (then repeat it), never the reverse.
    Raises WriteConflict when somebody else rotated at the same time and won.
    """
    checked(command)
    now = a.clock.now()
    keys = await load_keys(a.secrets)
    waiting = next_key(keys, now)
    if waiting is not None and not command.drop_previous:
        raise Conflict(f"key {waiting.id} is published and about to sign", code="rotation_under_way")
    immediately = command.drop_previous or active_key(keys, now) is None
    key_id, jwk = a.keys.new_signing_key()
    fresh = SigningKey(key_id, jwk, now, now if immediately else now + command.delay)
    put, event = audit_event(
        a.ids,
        now,
        actor=actor,
        action="signing_key.rotated",
        target=key_id,
        tenant=PLATFORM,
        detail={"signs_from": fresh.signs_from, "drop_previous": command.drop_previous},
    )
    await a.store.commit([put], [event])
    await keep_keys(a.secrets, with_new_key(keys, fresh, drop_previous=command.drop_previous, lifetime=a.lifetime))
    if all(key.id != key_id for key in await load_keys(a.secrets)):
        raise WriteConflict(("secrets", "token_signing_keys"))
    return fresh


def _rate(per_s: float | None, burst: int | None) -> RateLimit | None:
    return RateLimit(per_s, burst) if per_s is not None and burst is not None else None
