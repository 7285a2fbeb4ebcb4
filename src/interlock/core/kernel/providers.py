"""What core and providers say to each other: an operation asked for, and its result.

Pure words. How a provider is called is in `interlock.providers`; what follows from a result is decided by features.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.money import Money


class Outcome(StrEnum):
    """What is known of one call that may move money."""

    APPROVED = "approved"
    PENDING = "pending"
    """The provider has it and will tell us, or can be asked, later."""
    REQUIRES_ACTION = "requires_action"
    """The payer must do something first (3-D Secure)."""
    DECLINED = "declined"
    NOT_SENT = "not_sent"
    """Certainly nothing happened at the provider. As the answer to a lookup: it does not know the attempt."""
    UNKNOWN = "unknown"
    """It may have happened. Ask; never repeat, never fail over."""


class Retry(StrEnum):
    """What may help after a decline."""

    NEVER = "never"
    SAME_LATER = "same_later"
    OTHER_PROVIDER = "other_provider"
    STEP_UP = "step_up"
    NEW_CREDENTIAL = "new_credential"


class Action(StrEnum):
    AUTHORIZE = "authorize"
    """Reserve the amount; with `capture`, take it in the same call."""
    CAPTURE = "capture"
    VOID = "void"
    """Release an authorisation, or what is left of it; cancel a payment that waits for the payer."""
    REFUND = "refund"
    LOOKUP = "lookup"
    """Ask what became of an earlier attempt; moves nothing."""


class Decline(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: str
    """"soft" (another try may work) or "hard"."""
    code: str
    """Our word for the reason, the same for every provider, e.g. insufficient_funds."""
    retry: Retry
    network_code: str | None = None
    """The provider's or card network's own code."""
    message: str | None = None


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may be shown of a card."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int
    country: str | None = None
    """The issuer's, as in ISO 3166. This and `bin` are made by `kernel.cards`, which lets nothing else through."""
    bin: str | None = None
    """The number's first six or eight digits, which name the issuer."""

    def with_issuer_of(self, earlier: Card | None) -> Card:
        """This card, with what an earlier answer told of its issuer and this one does not."""
        if earlier is None or (earlier.brand, earlier.last4) != (self.brand, self.last4):
            return self
        country, number = self.country or earlier.country, self.bin or earlier.bin
        return msgspec.structs.replace(self, country=country, bin=number)


class Operation(msgspec.Struct, frozen=True):
    """One thing asked of a provider. `attempt_id` is the idempotency key and our reference there, stable over resends."""

    action: Action
    attempt_id: str
    payment_id: str
    tenant: str
    amount: Money
    """What to authorise, capture or refund; for a void, what is left to release; for a lookup, the looked-up attempt's amount."""
    started_at: Millis
    capture: bool = False
    """With AUTHORIZE (and a lookup of one): take the money at once."""
    final: bool = False
    """With CAPTURE: release what is left."""
    token: str = msgspec.field(default="")
    """The payment method, as the provider's token. Never shown or logged."""
    provider_reference: str | None = None
    """The provider's id of the payment, once known."""
    target: Action | None = None
    """With LOOKUP: which kind of attempt `attempt_id` was."""
    target_reference: str | None = None
    """With LOOKUP: the provider's id of that very attempt (a refund's id, say), if known."""
    return_url: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Operation({self.action} {self.attempt_id} {self.amount.amount} {self.amount.currency})"


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a provider answered, in our words."""

    outcome: Outcome
    provider_reference: str | None = None
    """The provider's id of the payment."""
    attempt_reference: str | None = None
    """The provider's id of this very operation, where it has one (a refund's id)."""
    amount: Money | None = None
    """Echoed by the provider. The engine turns APPROVED with another amount than asked for into UNKNOWN and an alarm."""
    captured: bool = False
    """The money was taken, not only reserved (an approved AUTHORIZE, or the lookup of one)."""
    decline: Decline | None = None
    next_action: Mapping[str, str] | None = None
    """With REQUIRES_ACTION: {"type": "redirect", "url": ...}."""
    card: Card | None = None
    authorization_expires_at: Millis | None = None
    retry_after_s: float | None = None
    """The provider asked us to wait (with NOT_SENT after 429, or PENDING)."""
    detail: str | None = None
    """For operators: why UNKNOWN or NOT_SENT, e.g. read_timeout, amount_mismatch, connect_refused, breaker_open."""


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One redacted HTTP exchange with a provider, kept for people who explain payments."""

    method: str
    url: str
    phase: str
    """prepare, commit or read."""
    started_at: Millis
    duration_ms: float
    status: int | None = None
    fault: str | None = None
    """Fault class, when no complete answer came."""
    request: str | None = None
    """Redacted body, cut to 2 kB."""
    reply: str | None = None


class CallReport(msgspec.Struct, frozen=True):
    """What the engine hands back: the result, and what went over the wire."""

    result: Result
    exchanges: tuple[Exchange, ...] = ()
    alarms: tuple[str, ...] = ()
    """Things a person must look at: amount_mismatch, reference_mismatch, unknown_status ..."""


class NotificationKind(StrEnum):
    ATTEMPT = "attempt"
    """News of an authorise, capture, void or refund: carries `action` and `result`."""
    DISPUTE = "dispute"
    OTHER = "other"
    """Understood and of no consequence here."""


class DisputeNews(msgspec.Struct, frozen=True, omit_defaults=True):
    reference: str
    """The provider's id of the dispute."""
    status: str
    """opened, won or lost."""
    amount: Money
    reason: str = "general"


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """One verified message of a provider, in our words. Deduplicated by (provider, id)."""

    id: str
    kind: NotificationKind
    occurred_at: Millis
    attempt_id: str | None = None
    """Our reference, when the provider gives it back."""
    payment_id: str | None = None
    """Our payment id, when the provider gives it back."""
    tenant: str | None = None
    """Our tenant, when the provider gives it back; always along with `payment_id`."""
    provider_reference: str | None = None
    action: Action | None = None
    result: Result | None = None
    dispute: DisputeNews | None = None


class Capabilities(msgspec.Struct, frozen=True):
    """What a provider can do, as data. An operation missing here cannot be routed there."""

    actions: frozenset[Action]
    methods: frozenset[str]
    """Payment method types: "card"."""
    currencies: frozenset[str] | None
    """None: every currency."""
    countries: frozenset[str] | None = None
    partial_capture: bool = True
    multiple_captures: bool = False
    idempotency_key_lifetime_ms: Millis = 24 * 3_600_000
    """For so long a repeated attempt id cannot charge twice; after it, only lookups."""
    lookup_by_our_reference: bool = True
    """Whether a lookup works without the provider's own id."""
    lookup_settles_after_ms: Millis = 60_000
    """Only so long after the call does "does not know the attempt" mean that it never will."""
    authorization_lifetime_ms: Millis = 7 * 24 * 3_600_000
