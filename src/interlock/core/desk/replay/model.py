"""A replay, what it is of, and what its preview says."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from interlock.core.desk.bulk.model import Bulk
from interlock.core.kernel.clock import HOUR, Millis
from interlock.core.kernel.ids import EndpointId, PaymentId
from interlock.core.webhooks.states import DeliveryStatus

ITEMS_MAX = 100_000
"""Of one replay; what fits beyond that takes another one."""
RATE_MAX = 200
"""Items a second."""
RATE_USUAL = 10
ALONE_MAX = 1_000
"""So many items may one person ask for within ALONE_WITHIN without anybody's approval."""
ALONE_WITHIN: Millis = HOUR
REMARKS_MAX = 50
REASONS_MAX = 20
TEXT_MAX = 200
FIRST_SHOWN = 50


class Kind(StrEnum):
    WEBHOOKS = "webhooks"
    """Deliveries, sent once more to their endpoints."""
    EVENTS = "events"
    """Stored events, told once more to one consumer group."""
    DEAD_LETTERS = "dead_letters"
    """What a queue gave up, put back into it."""


class Group(StrEnum):
    """Who may be told events once more: those that come out of it as they were. The README says why others are not here."""

    READ_MODELS = "read_models"
    """Merchants' lists of payments, journals and events."""
    DESK = "desk"
    """The desk's rows and the audit chain."""
    LEDGER_BALANCES = "ledger_balances"
    """The sums of accounts."""
    WEBHOOKS = "webhooks"
    """Deliveries that should be there and are not."""
    OUTSIDE = "outside"
    """Whoever else follows the bus: published once more, marked as a replay."""


Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
EventType = Annotated[str, Meta(pattern=r"^[a-z_]{1,60}(?:\.[a-z_]{1,60}){1,3}\Z")]
QueueName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,79}\Z")]
Instant = Annotated[int, Meta(ge=0, le=4_102_444_800_000)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a replay is of. What is None, empty or 0 does not filter."""

    kind: Kind
    merchant: Text | None = None
    payment: PaymentId | None = None
    type: EventType | None = None
    """Of the event."""
    since: Instant = 0
    """Milliseconds since 1970: of events that happened then or later; of dead letters, that died then."""
    before: Instant = 0
    """And before this. When it is asked for at the latest: what comes later is none of it."""
    endpoint: EndpointId | None = None
    status: DeliveryStatus | None = None
    group: Group | None = None
    queue: QueueName | None = None
    text: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    """That stands in a dead letter as the console shows it: JSON is laid out."""

    def holds(self, at: Millis) -> bool:
        return self.since <= at < self.before


class Candidate(msgspec.Struct, frozen=True):
    """One thing that fits, for people who look at a preview."""

    id: str
    at: Millis
    merchant: str = ""
    endpoint: str = ""
    type: str = ""
    payment: str = ""
    status: str = ""


class Remark(msgspec.Struct, frozen=True):
    """One thing that was not done, and why."""

    id: str
    detail: str


class Replay(Bulk, frozen=True, kw_only=True):
    NOUN: ClassVar[str] = "replay"

    wanted: Wanted
    rate: int
    """Items a second, over all workers together."""
    complete: bool
    """False: more fitted than one replay takes, and the oldest are done."""
    cursor: str = ""
    """Behind what is done."""
    due_at: Millis = 0
    """No worker goes on before: so the rate holds for all of them."""
    tries: int = 0
    """Turns in a row that came to nothing."""
    reasons: Mapping[str, int] = {}
    """Why items were skipped or failed, and how many; beyond REASONS_MAX under `other`."""
    remarks: tuple[Remark, ...] = ()
    """The first of them, one by one."""
    note: str = ""
    """Why it stands still, if nobody paused it."""

    @property
    def seconds_left(self) -> int:
        return -(-max(self.left, 0) // self.rate)


class Number(msgspec.Struct, frozen=True):
    name: str
    number: int


class Preview(msgspec.Struct, frozen=True):
    """What a replay would do. Nothing is done."""

    wanted: Wanted
    rate: int
    items: int
    complete: bool
    """False: more fit than ITEMS_MAX, or than could be looked at; what was counted comes first."""
    needs_approval: bool
    would: str
    seconds: int
    """At that rate, at least."""
    oldest: Millis | None
    newest: Millis | None
    by_merchant: tuple[Number, ...]
    by_endpoint: tuple[Number, ...]
    by_type: tuple[Number, ...]
    warnings: tuple[str, ...]
    first: tuple[Candidate, ...]
