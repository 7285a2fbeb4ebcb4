"""Findings as they stand in the store: what is open in one place, what is over beside it, by payment.

In the store, not among the read models: what a nightly proof found, and that somebody explained it, is in no event, and must
outlive a rebuild of those.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import msgspec

from interlock.core.desk.risk.model import Kind, Risk
from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.store import ABSENT, Delete, Item, Key, Put, Store, Write

OPEN = "~desk/findings"
FINDING = "fnd"
"""Prefix of a finding's id."""
OPEN_MAX = 5_000
"""Listed: with more than this the platform has another problem."""
PAGE = 1_000
PAST_KEPT: Millis = 400 * DAY
BOOKS = "books"
"""What a finding of kind NOT_POSTED is about: there is one for each payment."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_HALF = 13


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was found out about a payment, and stands until a later look, or a person, says otherwise."""

    kind: Kind
    subject: str
    """The payment's id, or where at a provider something stands that is no payment of ours."""
    about: str
    """What of it: BOOKS, or an attempt and the alarm's word."""
    payment: str
    merchant: str
    amount: int
    currency: str
    since: Millis
    seen: str
    """Id of the event that said so last; empty if a look at the books did."""
    detail: str
    codes: tuple[str, ...] = ()
    """Of `ledger verify`."""
    provider: str | None = None
    reference: str | None = None
    ended_at: Millis | None = None
    ended_by: str = ""
    """Who explained it; empty if a later look agreed."""
    reason: str = ""

    @property
    def id(self) -> str:
        return f"{_begin(self.subject)}{_digest(f'{self.kind}/{self.about}')}"


class HeldFinding(NamedTuple):
    finding: Finding
    item_version: int


def risk_of(finding: Finding) -> Risk:
    return Risk(
        finding.kind,
        finding.payment,
        finding.merchant,
        finding.amount,
        finding.currency,
        finding.provider,
        finding.reference,
        finding.since,
        finding.detail,
        finding.id,
    )


async def open_findings(store: Store, *, limit: int = OPEN_MAX) -> list[Finding]:
    """All that are open, up to `limit`."""
    found: list[Finding] = []
    after: str | None = None
    while len(found) < limit:
        page = await store.query(OPEN, after=after, limit=min(PAGE, limit - len(found)))
        found += [_decode(item) for item in page.items]
        after = page.next
        if after is None:
            break
    return found


async def open_of(store: Store, subject: str) -> list[HeldFinding]:
    """What is open of one payment."""
    page = await store.query(OPEN, prefix=_begin(subject), limit=PAGE)
    held = [HeldFinding(_decode(item), item.version) for item in page.items]
    return [one for one in held if one.finding.subject == subject]


async def load_open(store: Store, finding_id: str) -> HeldFinding | None:
    item = await store.get(Key(OPEN, finding_id))
    return None if item is None else HeldFinding(_decode(item), item.version)


async def last_ended(store: Store, finding: Finding) -> Finding | None:
    """How the same thing ended the last time."""
    page = await store.query(_past(finding.id), limit=1, newest_first=True)
    return _decode(page.items[0]) if page.items else None


def open_write(finding: Finding, expected: int = ABSENT) -> Put:
    return Put(Key(OPEN, finding.id), _encoder.encode(finding), expected)


def end_writes(held: HeldFinding, finding: Finding) -> list[Write]:
    """`finding` is the held one with its end."""
    assert finding.ended_at is not None, "it has ended"
    past = Key(_past(finding.id), f"{finding.ended_at:014d}")
    return [
        Delete(Key(OPEN, finding.id), held.item_version),
        Put(past, _encoder.encode(finding), ABSENT, {}, finding.ended_at + PAST_KEPT),
    ]


def _past(finding_id: str) -> str:
    return f"{OPEN}/past/{finding_id}"


def _begin(subject: str) -> str:
    return f"{FINDING}_{_digest(subject)}"


def _digest(text: str) -> str:
    number = int.from_bytes(sha256(text.encode()).digest(), "big")
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_HALF))


def _decode(item: Item) -> Finding:
    return _decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Finding)
