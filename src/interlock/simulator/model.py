"""The simulated provider's own words: what its books hold and what it says over the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.currencies import EXPONENTS
from interlock.simulator.cards import USUAL, Card

AMOUNT_MAX = 2**53
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Reference = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9_.-]+$")]


class Kind(StrEnum):
    CHARGE = "charge"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    LOOKUP = "lookup"
    """Moves nothing; here so that faults can name it."""


class Status(StrEnum):
    """Of one operation, for good or until news comes."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    SUCCEEDED = "succeeded"
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    DECLINED = "declined"


class DisputeStatus(StrEnum):
    OPENED = "opened"
    WON = "won"
    LOST = "lost"


class Operation(msgspec.Struct, omit_defaults=True):
    """What became of one request that moves money, by the merchant's reference for it."""

    id: str
    kind: Kind
    reference: str
    charge: str
    amount: int
    currency: str
    status: Status
    created_at: Millis
    decline_code: str | None = None
    effects: int = 0
    """How often it moved or reserved money. More than one is a double charge."""


class Dispute(msgspec.Struct):
    id: str
    amount: int
    status: DisputeStatus
    reason: str


class FollowUp(msgspec.Struct, frozen=True):
    """What will happen to an operation or a charge by itself."""

    at: Millis
    what: Literal["approve", "dispute"]
    subject: str
    """The operation's or the charge's id."""


class Charge(msgspec.Struct, omit_defaults=True):
    """Money of one payer. authorized = captured + released + capturable; refunded + disputed <= captured."""

    id: str
    operation: str
    amount: int
    currency: str
    capture: bool
    created_at: Millis
    expires_at: Millis
    authorized: int = 0
    captured: int = 0
    released: int = 0
    refunded: int = 0
    disputes: list[Dispute] = []
    dispute_when_captured: bool = False
    return_url: str | None = None
    card: Card = USUAL
    metadata: dict[str, str] = {}

    @property
    def capturable(self) -> int:
        return self.authorized - self.captured - self.released

    @property
    def disputed(self) -> int:
        return sum(dispute.amount for dispute in self.disputes if dispute.status is not DisputeStatus.WON)

    @property
    def refundable(self) -> int:
        return self.captured - self.refunded - self.disputed


class ChargeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reference: Reference
    amount: Amount
    currency: str
    token: Annotated[str, Meta(min_length=1, max_length=255)]
    capture: bool = False
    return_url: Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s\u0000-\u001f\u007f]+$")] | None = None
    description: Annotated[str, Meta(max_length=255)] | None = None
    metadata: dict[str, str] = {}
    session: str | None = None
    """What preparing the token gave."""

    def __post_init__(self) -> None:
        if self.currency not in EXPONENTS:
            raise ValueError("unknown currency")


class FollowOnRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a capture, a void or a refund."""

    reference: Reference
    amount: Amount | None = None
    """All that is left, if absent."""
    currency: str | None = None
    final: bool = False
    """With a capture: release the rest."""


class OperationDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operation as answers, lookups and notifications show it."""

    object: str
    id: str
    kind: Kind
    status: Status
    reference: str
    charge: str
    amount: int
    currency: str
    created_at: Millis
    decline_code: str | None = None
    action_url: str | None = None
    """Where the payer goes, while the operation requires that."""
    expires_at: Millis | None = None
    """When the bank lets go of what is authorised."""
    card: Card | None = None
    metadata: dict[str, str] = {}
