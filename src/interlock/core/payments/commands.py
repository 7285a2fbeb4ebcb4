"""What can be asked of payments. These are also the bodies of the HTTP API: a field that is not here is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.money import AMOUNT_MAX

Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX, description="Minor units of the currency.", examples=[1999])]
if TYPE_CHECKING:
    CurrencyCode = str
else:
    CurrencyCode = Annotated[Literal[tuple(sorted(EXPONENTS))], Meta(description="ISO 4217.", examples=["EUR"])]
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,255}\Z", examples=["tok_approve"])]
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\u0000-\u001f\u007f]*\Z")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+\Z")]
MetadataValue = Annotated[str, Meta(max_length=500)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=20)]
ReturnUrl = Annotated[
    str,
    Meta(pattern=r"^https?://[!-~]+\Z", max_length=2000, description="Printable ASCII; anything else percent-encoded."),
]
ProviderName = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}\Z")]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON body: unknown fields are refused."""


class CardToken(Body, frozen=True):
    type: Literal["card"]
    token: Token

    def __repr__(self) -> str:
        return "CardToken(...)"


class RoutingWish(Body, frozen=True):
    provider: ProviderName | None = None
    """Only this provider; no failover."""
    rule: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}\Z")] | None = None
    """The routing rule of this name in the place of the default one."""


class CreatePayment(Body, frozen=True):
    amount: Amount
    currency: CurrencyCode
    payment_method: CardToken | None = None
    capture_method: Literal["automatic", "manual"] = "automatic"
    confirm: bool = True
    """False: only create; `confirm` authorises later."""
    customer: Text | None = None
    reference: Text | None = None
    description: Text | None = None
    metadata: Metadata = {}
    return_url: ReturnUrl | None = None
    routing: RoutingWish | None = None


class ConfirmPayment(Body, frozen=True):
    payment_method: CardToken | None = None
    return_url: ReturnUrl | None = None


class CapturePayment(Body, frozen=True):
    amount: Amount | None = None
    """All that is left, if absent."""
    final: bool | None = None
    """Release what is left afterwards. True for a capture without amount, else false."""


class CancelPayment(Body, frozen=True):
    reason: Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"] | None = None


class RefundPayment(Body, frozen=True):
    amount: Amount | None = None
    """All that can still be refunded, if absent."""
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
