"""Clients as items. A client is found by its id alone, since that is all a token request says; an index lists a tenant's."""

from __future__ import annotations

import msgspec

from interlock.core.access.model import Client, Held
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.ids import CLIENT, is_id
from interlock.core.kernel.store import ABSENT, Key, Put, Store

CLIENTS_INDEX = "clients"


def client_write(client: Client, *, expected: int = ABSENT) -> Put:
    indexes = {CLIENTS_INDEX: Key(f"{client.tenant}/clients", client.id)}
    return Put(_key(client.id), _encoder.encode(client), expected, indexes)


async def find_client(store: Store, client_id: str) -> Held | None:
    """The client, or None; text that cannot be an id of ours is never looked up."""
    if not is_id(client_id, CLIENT):
        return None
    item = await store.get(_key(client_id))
    return Held(_decoder.decode(item.value), item.version) if item is not None else None


async def load_client(store: Store, client_id: str, *, tenant: str | None = None) -> Held:
    """Raises NotFound, also for a client of another tenant. `tenant` None: an operator of the platform asks."""
    held = await find_client(store, client_id)
    if held is None or (tenant is not None and held.client.tenant != tenant):
        raise NotFound("no such client")
    return held


async def list_clients(store: Store, tenant: str, *, after: str | None = None, limit: int = 100) -> list[Client]:
    """Clients of a tenant by id, so by age, behind id `after`. May lag a moment behind the latest commit."""
    page = await store.query_index(CLIENTS_INDEX, f"{tenant}/clients", after=after, limit=limit)
    return [_decoder.decode(item.value) for item in page.items]


def used_assertion(client_id: str, digest: str, until: Millis) -> Put:
    """The write that uses up a client assertion: it fails if the assertion was used before."""
    return Put(Key(f"{client_id}/assertions", digest), b"{}", ABSENT, {}, until)


def _key(client_id: str) -> Key:
    return Key(client_id, "client")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Client)
