"""The payment aggregate. Immutable: decisions make the next one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Card, Decline, Outcome
from interlock.core.payments.states import DisputeState, RefundState, State

ATTEMPTS_MAX = 200
"""Provider operations of one payment before it takes no more commands; bounds the stored item. What the platform must do by
itself, such as giving a late approval back, is done beyond it, too."""
FINAL_OUTCOMES = frozenset({Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_SENT})


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One operation asked of one provider. Its id is the idempotency key there, and never asks for two things."""

    id: str
    operation: Action
    provider: str
    amount: int
    started_at: Millis
    request: str
    """The API request it belongs to; a failover's attempts share one."""
    outcome: Outcome | None = None
    """None while no answer is recorded."""
    finished_at: Millis | None = None
    """When the present outcome was recorded."""
    deadline: Millis | None = None
    """When somebody looks into it next; None once nothing is open."""
    lookups: int = 0
    resends: int = 0
    sent_at: Millis = 0
    """When the latest resend was recorded; zero without one."""
    answered: bool = False
    """Whether the request it belongs to has its stored answer."""
    answer_status: int = 200
    """HTTP status of that answer once the outcome is known."""
    capture: bool = False
    """AUTHORIZE takes the money at once."""
    final: bool = False
    """CAPTURE releases the rest."""
    target: str | None = None
    """Id of the capture or refund it carries out, or of the late attempt it reverses."""
    reverses: bool = False
    """Gives back a late approval; `target` is that attempt."""
    late: bool = False
    """Approved only after the payment had gone on without it."""
    released: bool = False
    """Still open when a void let go of the whole payment: approved before or after, nothing is held."""
    provider_reference: str | None = None
    """The provider's id of the payment, as this attempt learned it."""
    attempt_reference: str | None = None
    """The provider's id of this operation (a refund's id)."""
    decline: Decline | None = None
    reason: str = ""
    """Why this provider was chosen."""
    detail: str = ""
    """Why the outcome is unknown or not sent, for operators."""
    release: str = ""
    """Which release of the platform started it."""

    @property
    def is_open(self) -> bool:
        """Whether its outcome may still become another without contradiction."""
        return self.outcome not in FINAL_OUTCOMES


class Capture(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    amount: int
    created_at: Millis


class Refund(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    amount: int
    state: RefundState
    created_at: Millis
    updated_at: Millis
    reason: str | None = None
    failure: str | None = None


class Dispute(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    reference: str
    """The provider's id."""
    amount: int
    """What counts against the captured money."""
    state: DisputeState
    reason: str
    opened_at: Millis
    updated_at: Millis
    excess: int = 0
    """Disputed beyond what was still refundable; booked to suspense and alarmed."""


class Payment(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    tenant: str
    state: State
    amount: int
    currency: str
    created_at: Millis
    updated_at: Millis
    version: int = 1
    """Counts events, not writes: a lease is written without one."""
    capture_method: str = "automatic"
    method_type: str = "card"
    method_id: str | None = None
    token: str = ""
    """The provider's token of the method. Never shown or logged."""
    card: Card | None = None
    provider: str | None = None
    """Where the payment lives, once a provider may hold it."""
    provider_reference: str | None = None
    wanted_provider: str | None = None
    wanted_rule: str | None = None
    customer: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = {}
    return_url: str | None = None
    amount_authorized: int = 0
    amount_captured: int = 0
    amount_released: int = 0
    authorization_expires_at: Millis | None = None
    release_after: Millis | None = None
    """Releasing what had expired did not work: not again before this."""
    next_action: Mapping[str, str] | None = None
    decline: Decline | None = None
    cancel_reason: str | None = None
    attempts: tuple[Attempt, ...] = ()
    captures: tuple[Capture, ...] = ()
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()

    def __repr__(self) -> str:
        return f"Payment({self.id} v{self.version} {self.state} {self.amount} {self.currency})"

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)

    @property
    def amount_refunded(self) -> int:
        """Given back for certain."""
        return sum(refund.amount for refund in self.refunds if refund.state is RefundState.SUCCEEDED)

    @property
    def amount_reserved(self) -> int:
        """Given back or promised: every refund that has not failed."""
        return sum(refund.amount for refund in self.refunds if refund.state is not RefundState.FAILED)

    @property
    def amount_disputed(self) -> int:
        """Held or taken by disputes: all but those won."""
        return sum(dispute.amount for dispute in self.disputes if dispute.state is not DisputeState.WON)

    @property
    def refundable(self) -> int:
        """What refunds and disputes may still take: the one refundable balance."""
        return self.amount_captured - self.amount_reserved - self.amount_disputed

    @property
    def capturable(self) -> int:
        return self.amount_authorized - self.amount_captured - self.amount_released

    def attempt(self, attempt_id: str) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.id == attempt_id), None)

    def refund(self, refund_id: str) -> Refund | None:
        return next((refund for refund in self.refunds if refund.id == refund_id), None)

    @property
    def open_attempts(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.is_open]

    @property
    def has_unknown(self) -> bool:
        """Whether some attempt's outcome is unknown, so that no other may start."""
        return any(attempt.outcome is Outcome.UNKNOWN for attempt in self.attempts)

    def with_attempt(self, attempt: Attempt) -> tuple[Attempt, ...]:
        """The attempts with `attempt` in the place of the one of its id, or at the end."""
        if any(known.id == attempt.id for known in self.attempts):
            return tuple(attempt if known.id == attempt.id else known for known in self.attempts)
        return (*self.attempts, attempt)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Payment)


def encode_payment(payment: Payment) -> bytes:
    return _encoder.encode(payment)


def decode_payment(raw: bytes) -> Payment:
    return _decoder.decode(raw)
