"""The audit trail: what privileged people and programs did. Records are added, never changed.

Each record is an item of its own, so adding one contends with nobody, and its event is the only one of its aggregate, so
the feed carries the trail to wherever it is archived. The record stands in `facts`: operators see it, merchants do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from interlock.core.kernel.clock import Millis, utc_day
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import AUDIT, EVENT, Ids
from interlock.core.kernel.store import ABSENT, Key, Put, Store

AUDIT_RECORDED = "audit.recorded"
PLATFORM = "~platform"
"""In place of a tenant for what concerns all of them; no tenant can be called so."""
PAGE_MAX = 1_000


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    """aud_..."""
    at: Millis
    tenant: str
    actor: str
    """client_id of the caller, or who at the command line."""
    action: str
    """`noun.verb_past`, e.g. client.disabled."""
    target: str
    """Id of the thing acted on."""
    detail: Mapping[str, str | int | bool | None] = {}
    """Never a secret, a token or card data."""


class AuditPage(NamedTuple):
    records: list[AuditRecord]
    next: str | None
    """Give it back as `after` for the following records; None when there are none."""


def audit_event(
    ids: Ids,
    now: Millis,
    *,
    actor: str,
    action: str,
    target: str,
    tenant: str,
    detail: Mapping[str, str | int | bool | None] | None = None,
) -> tuple[Put, Event]:
    """The write and the event that record a privileged action: add both to the commit that carries it out.

    They count as two of the commit's 25. `tenant` is PLATFORM for what concerns no single tenant.
    """
    record = AuditRecord(ids.new(AUDIT), now, tenant, actor, action, target, detail or {})
    value = _encoder.encode(record)
    put = Put(record_key(tenant, utc_day(now), record.id), value, ABSENT)
    event = Event(ids.new(EVENT), AUDIT_RECORDED, tenant, record.id, 1, now, facts=msgspec.Raw(value))
    return put, event


async def list_audit(store: Store, *, tenant: str, day: str, after: str | None = None, limit: int = 100) -> AuditPage:
    """Records of one UTC day (YYYY-MM-DD), newest first."""
    page = await store.query(_partition(tenant, day), after=after, limit=min(limit, PAGE_MAX), newest_first=True)
    return AuditPage([_decoder.decode(item.value) for item in page.items], page.next)


def record_key(tenant: str, day: str, record_id: str) -> Key:
    return Key(_partition(tenant, day), record_id)


def decode_record(raw: bytes) -> AuditRecord:
    return _decoder.decode(raw)


def _partition(tenant: str, day: str) -> str:
    return f"{tenant}/audit/{day}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AuditRecord)
