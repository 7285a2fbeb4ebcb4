"""The events of saved queries. They are operators' news: no merchant sees them."""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from interlock.core.desk.queries.model import SavedQuery
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import EVENT, Ids

QUERY_SAVED, QUERY_DELETED = "query.saved", "query.deleted"
QUERY_RUN = "query.run"
"""In the audit trail only."""
EVENT_TYPES = MappingProxyType(
    {
        QUERY_SAVED: "A query of the desk was kept or changed.",
        QUERY_DELETED: "A query of the desk is gone.",
    }
)


class Facts(msgspec.Struct, frozen=True):
    cause: str
    actor: str
    query: SavedQuery


def query_event(ids: Ids, type_: str, query: SavedQuery, *, actor: str, tenant: str) -> Event:
    """The change that made `query` what it is, at its `updated_at`."""
    return Event(
        id=ids.new(EVENT),
        type=type_,
        tenant=tenant,
        aggregate=query.id,
        version=query.version,
        at=query.updated_at,
        facts=msgspec.Raw(_encoder.encode(Facts("desk", actor, query))),
    )


_encoder = msgspec.json.Encoder()
