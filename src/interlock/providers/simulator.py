"""The simulated provider's adapter. See docs/providers/simulator.md for the protocol it speaks.

One status table serves answers, lookups and notifications. What does not fit it is UNKNOWN.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator, Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from interlock.core.kernel.cards import bin_of, country_of
from interlock.core.kernel.clock import DAY, MINUTE, Millis
from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    Capabilities,
    Card,
    Decline,
    DisputeNews,
    Notification,
    NotificationKind,
    Operation,
    Outcome,
    Result,
    Retry,
)
from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import (
    Context,
    Conversation,
    Fault,
    HttpReply,
    HttpRequest,
    Phase,
    RawNotification,
)

TIMESTAMP_HEADER = "simulator-timestamp"
SIGNATURE_HEADER = "simulator-signature"
TOLERANCE_MS: Millis = 5 * MINUTE
SIGNATURES_MAX = 10
RETRY_AFTER_MAX_S = 3_600.0
KEY = "Idempotency-Key"
SESSION_TOKENS = "tok_connect_refused"
"""Tokens that begin like this are prepared before they are charged: a provider that cannot be reached is met in the preparation."""


class _Meaning(NamedTuple):
    outcome: Outcome
    captured: bool = False


STATUSES: Mapping[str, _Meaning] = {
    "authorized": _Meaning(Outcome.APPROVED),
    "captured": _Meaning(Outcome.APPROVED, captured=True),
    "succeeded": _Meaning(Outcome.APPROVED),
    "pending": _Meaning(Outcome.PENDING),
    "requires_action": _Meaning(Outcome.REQUIRES_ACTION),
    "declined": _Meaning(Outcome.DECLINED),
}
ACTIONS: Mapping[str, Action] = {
    "charge": Action.AUTHORIZE,
    "capture": Action.CAPTURE,
    "void": Action.VOID,
    "refund": Action.REFUND,
}
KINDS = {action: kind for kind, action in ACTIONS.items()}


class _Reason(NamedTuple):
    kind: Literal["soft", "hard"]
    code: str
    retry: Retry


DECLINES: Mapping[str, _Reason] = {
    "insufficient_funds": _Reason("soft", "insufficient_funds", Retry.SAME_LATER),
    "processing_timeout": _Reason("soft", "processing_timeout", Retry.SAME_LATER),
    "issuer_unavailable": _Reason("soft", "issuer_unavailable", Retry.OTHER_PROVIDER),
    "authentication_failed": _Reason("soft", "authentication_failed", Retry.STEP_UP),
    "stolen_card": _Reason("hard", "stolen_card", Retry.NEVER),
    "token_unknown": _Reason("hard", "invalid_payment_method", Retry.NEW_CREDENTIAL),
    "canceled": _Reason("hard", "canceled", Retry.NEVER),
    "not_authorized": _Reason("hard", "not_authorized", Retry.NEVER),
    "nothing_left_to_capture": _Reason("hard", "nothing_left_to_capture", Retry.NEVER),
    "authorization_expired": _Reason("hard", "authorization_expired", Retry.NEVER),
    "amount_too_large": _Reason("hard", "amount_too_large", Retry.NEVER),
    "currency_mismatch": _Reason("hard", "currency_mismatch", Retry.NEVER),
    "refund_exceeds_captured": _Reason("hard", "refund_exceeds_captured", Retry.NEVER),
    "returned_by_bank": _Reason("hard", "returned_by_bank", Retry.NEVER),
}
REFUSALS: Mapping[tuple[int, str], _Reason] = {
    (400, "invalid_request"): _Reason("hard", "invalid_request", Retry.NEVER),
    (404, "charge_unknown"): _Reason("hard", "charge_unknown", Retry.NEVER),
}
"""HTTP errors by which the provider says, in its own words, that it did not carry out what was asked."""
_OTHER_REASON = _Reason("soft", "declined", Retry.NEVER)


class _Card(msgspec.Struct, frozen=True):
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    country: Any = None
    bin: Any = None

    def known(self) -> Card:
        country, number = country_of(self.country), bin_of(self.bin, brand=self.brand)
        return Card(self.brand, self.last4, self.exp_month, self.exp_year, country, number)


class _Operation(msgspec.Struct, frozen=True):
    """An operation as the provider shows it; further fields are its own affair."""

    object: Literal["operation"]
    id: str
    kind: str
    status: str
    reference: str
    charge: str
    amount: int
    currency: str
    decline_code: str | None = None
    action_url: str | None = None
    expires_at: int | None = None
    card: _Card | None = None
    metadata: dict[str, str] = {}


class _Dispute(msgspec.Struct, frozen=True):
    id: str
    status: str
    charge: str
    amount: int
    currency: str
    reason: str = "general"
    metadata: dict[str, str] = {}


class _Notice(msgspec.Struct, frozen=True):
    object: Literal["notification"]
    id: str
    type: str
    created_at: int
    operation: _Operation | None = None
    dispute: _Dispute | None = None


class _Error(msgspec.Struct, frozen=True):
    code: str
    message: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error


class _Session(msgspec.Struct, frozen=True):
    object: Literal["session"]
    id: str


class _Charge(msgspec.Struct, frozen=True, omit_defaults=True):
    reference: str
    amount: int
    currency: str
    token: str
    capture: bool = False
    return_url: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = {}
    session: str | None = None


class _FollowOn(msgspec.Struct, frozen=True, omit_defaults=True):
    reference: str
    amount: int | None = None
    currency: str | None = None
    final: bool = False


class SimulatorProvider:
    """One instance of the simulated provider, by the name under which it is configured."""

    credential_names: tuple[str, ...] = ("api_key",)
    signing_secret_name = "signing_secret"

    def __init__(self, name: str = "simulator", *, lookup_settles_after_ms: Millis = 5_000) -> None:
        """`lookup_settles_after_ms`: how long after a call a lookup may still miss it; above the server's `late_accept_s`."""
        self.name = name
        self.capabilities = Capabilities(
            actions=frozenset(Action),
            methods=frozenset({"card"}),
            currencies=None,
            partial_capture=True,
            multiple_captures=True,
            idempotency_key_lifetime_ms=DAY,
            lookup_by_our_reference=True,
            lookup_settles_after_ms=lookup_settles_after_ms,
            authorization_lifetime_ms=7 * DAY,
        )

    def run(self, op: Operation, ctx: Context) -> Conversation:
        headers = {"authorization": f"Bearer {ctx.credentials['api_key'].reveal()}"}
        if op.action is Action.LOOKUP:
            return (yield from _look_up(op, headers))
        if op.action is Action.AUTHORIZE:
            return (yield from _charge(op, headers))
        if op.provider_reference is None:
            return Result(Outcome.NOT_SENT, detail="no_provider_reference")
        return (yield from _follow_on(op, op.provider_reference, headers))

    def notifications(self, raw: RawNotification, secrets: Mapping[str, list[Secret]]) -> list[Notification]:
        _verify(raw, secrets.get("signing_secret", []))
        try:
            return [_news(_notice_decoder.decode(raw.body))]
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise Invalid("the notification cannot be read") from error


def _charge(op: Operation, headers: Mapping[str, str]) -> Generator[HttpRequest, HttpReply | Fault, Result]:
    session = None
    if op.token.startswith(SESSION_TOKENS):
        path = f"/v1/tokens/{quote(op.token, safe='')}/session"
        prepared = yield HttpRequest("POST", path, Phase.PREPARE, headers)
        if isinstance(prepared, Fault):
            return Result(Outcome.NOT_SENT, detail=prepared.kind.value)
        try:
            session = _session_decoder.decode(prepared.body).id
        except (msgspec.DecodeError, RecursionError):
            return Result(Outcome.NOT_SENT, detail="preparation_failed", retry_after_s=_retry_after(prepared))
    body = _Charge(
        reference=op.attempt_id,
        amount=op.amount.amount,
        currency=op.amount.currency,
        token=op.token,
        capture=op.capture,
        return_url=op.return_url,
        description=op.description,
        metadata=op.metadata,
        session=session,
    )
    reply = yield _post("/v1/charges", body, headers)
    return _answer(op, Action.AUTHORIZE, reply)


def _follow_on(
    op: Operation, charge: str, headers: Mapping[str, str]
) -> Generator[HttpRequest, HttpReply | Fault, Result]:
    path = f"/v1/charges/{quote(charge, safe='')}"
    if op.action is Action.VOID:
        # All that is left: the provider knows better than we how much that is.
        reply = yield _post(f"{path}/void", _FollowOn(op.attempt_id), headers)
    else:
        body = _FollowOn(op.attempt_id, op.amount.amount, op.amount.currency, op.final)
        reply = yield _post(f"{path}/{'capture' if op.action is Action.CAPTURE else 'refunds'}", body, headers)
    return _answer(op, op.action, reply)


def _look_up(op: Operation, headers: Mapping[str, str]) -> Generator[HttpRequest, HttpReply | Fault, Result]:
    reply = yield HttpRequest("GET", f"/v1/operations/{quote(op.attempt_id, safe='')}", Phase.READ, headers)
    if isinstance(reply, Fault):
        return Result(Outcome.UNKNOWN, detail=reply.kind.value)
    if reply.status == 200:
        return _operation_result(op, op.target or Action.AUTHORIZE, reply)
    if reply.status == 404 and _error_code(reply) == "operation_unknown":
        return Result(Outcome.NOT_SENT, detail="operation_unknown")
    detail = "credentials_refused" if reply.status in (401, 403) else f"http_{reply.status}"
    return Result(Outcome.UNKNOWN, retry_after_s=_retry_after(reply), detail=detail)


def _post(path: str, body: msgspec.Struct, headers: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(
        "POST",
        path,
        Phase.COMMIT,
        {**headers, "content-type": "application/json"},
        _encoder.encode(body),
        idempotency_header=KEY,
    )


def _answer(op: Operation, asked: Action, reply: HttpReply | Fault) -> Result:
    """What the answer to a request that may move money means."""
    if isinstance(reply, Fault):
        outcome = Outcome.NOT_SENT if reply.kind.before_sending else Outcome.UNKNOWN
        return Result(outcome, detail=reply.kind.value)
    if reply.status in (200, 201, 402):
        return _operation_result(op, asked, reply)
    code = _error_code(reply)
    if reply.status == 429 and code == "rate_limited":
        return Result(Outcome.NOT_SENT, retry_after_s=_retry_after(reply), detail="rate_limited")
    if reply.status == 401 and code == "unauthenticated":
        return Result(Outcome.NOT_SENT, detail="credentials_refused")
    if reply.status == 409 and code == "idempotency_key_reused":
        return Result(Outcome.UNKNOWN, detail=code)
    reason = REFUSALS.get((reply.status, code))
    if reason is not None:
        return Result(Outcome.DECLINED, decline=_decline(reason, code), detail=code)
    return Result(Outcome.UNKNOWN, detail=f"http_{reply.status}")


def _operation_result(op: Operation, asked: Action, reply: HttpReply) -> Result:
    try:
        shown = _operation_decoder.decode(reply.body)
        result = _result(shown)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return Result(Outcome.UNKNOWN, detail="unreadable_answer")
    if shown.reference != op.attempt_id:
        return Result(Outcome.UNKNOWN, detail="reference_mismatch")
    if ACTIONS.get(shown.kind) is not asked:
        return Result(Outcome.UNKNOWN, detail="unreadable_answer")
    if result.outcome is Outcome.UNKNOWN:
        return result
    if (reply.status == 402) != (result.outcome is Outcome.DECLINED) and op.action is not Action.LOOKUP:
        # The status line and the body contradict each other.
        return Result(Outcome.UNKNOWN, result.provider_reference, detail="unreadable_answer")
    return result


def _result(shown: _Operation) -> Result:
    """An operation in our words. Raises ValueError for an amount or an address that makes no sense."""
    meaning = STATUSES.get(shown.status)
    if meaning is None:
        return Result(Outcome.UNKNOWN, shown.charge, detail="unknown_status")
    amount = Money(shown.amount, shown.currency)
    action = None
    if meaning.outcome is Outcome.REQUIRES_ACTION:
        if shown.action_url is None or not shown.action_url.startswith(("https://", "http://")):
            raise ValueError("an action needs an address")
        action = {"type": "redirect", "url": shown.action_url}
    decline = None
    if meaning.outcome is Outcome.DECLINED:
        code = shown.decline_code or ""
        decline = _decline(DECLINES.get(code, _OTHER_REASON), code)
    return Result(
        outcome=meaning.outcome,
        provider_reference=shown.charge,
        attempt_reference=shown.id,
        # What a void releases is the provider's to say: captures may have got in between.
        amount=None if shown.kind == "void" else amount,
        captured=meaning.captured,
        decline=decline,
        next_action=action,
        card=shown.card.known() if shown.card else None,
        authorization_expires_at=shown.expires_at,
    )


def _decline(reason: _Reason, network_code: str) -> Decline:
    return Decline(reason.kind, reason.code, reason.retry, network_code or None)


def _error_code(reply: HttpReply) -> str:
    try:
        return _refusal_decoder.decode(reply.body).error.code
    except (msgspec.DecodeError, RecursionError):
        return ""


def _retry_after(reply: HttpReply) -> float | None:
    given = reply.headers.get("retry-after", "")
    return min(float(given), RETRY_AFTER_MAX_S) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _verify(raw: RawNotification, secrets: list[Secret]) -> None:
    """Raises Unauthenticated. Every signature is compared with every secret, so that time tells nothing."""
    timestamp = raw.headers.get(TIMESTAMP_HEADER, "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13):
        raise Unauthenticated("the notification has no timestamp")
    if abs(raw.received_at - int(timestamp) * 1_000) > TOLERANCE_MS:
        raise Unauthenticated("the notification is too old, or from the future")
    given = [
        mark.strip()[3:].encode("utf-8", "replace")
        for mark in raw.headers.get(SIGNATURE_HEADER, "").split(",", SIGNATURES_MAX)[:SIGNATURES_MAX]
        if mark.strip().startswith("v1=")
    ]
    signed = timestamp.encode() + b"." + raw.body
    good = False
    for secret in secrets:
        expected = hmac.new(secret.reveal().encode(), signed, sha256).hexdigest().encode()
        for mark in given:
            good |= hmac.compare_digest(expected, mark)
    if not good:
        raise Unauthenticated("the notification's signature is not the provider's")


def _news(notice: _Notice) -> Notification:
    """Raises ValueError for a message that lacks what its type promises."""
    if notice.type == "operation.updated":
        shown = notice.operation
        if shown is None or shown.kind not in ACTIONS:
            raise ValueError("an operation is missing")
        payment_id, tenant = _owner(shown.metadata)
        return Notification(
            id=notice.id,
            kind=NotificationKind.ATTEMPT,
            occurred_at=notice.created_at,
            attempt_id=shown.reference,
            provider_reference=shown.charge,
            action=ACTIONS[shown.kind],
            result=_result(shown),
            payment_id=payment_id,
            tenant=tenant,
        )
    if notice.type in ("dispute.opened", "dispute.won", "dispute.lost"):
        dispute = notice.dispute
        if dispute is None or notice.type != f"dispute.{dispute.status}":
            raise ValueError("a dispute is missing")
        payment_id, tenant = _owner(dispute.metadata)
        news = DisputeNews(dispute.id, dispute.status, Money(dispute.amount, dispute.currency), dispute.reason)
        return Notification(
            id=notice.id,
            kind=NotificationKind.DISPUTE,
            occurred_at=notice.created_at,
            provider_reference=dispute.charge,
            dispute=news,
            payment_id=payment_id,
            tenant=tenant,
        )
    return Notification(id=notice.id, kind=NotificationKind.OTHER, occurred_at=notice.created_at)


def _owner(metadata: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Payment and tenant, if the provider gives back both."""
    payment_id, tenant = metadata.get("payment_id"), metadata.get("tenant")
    return (payment_id, tenant) if payment_id and tenant else (None, None)


_encoder = msgspec.json.Encoder()
_operation_decoder = msgspec.json.Decoder(_Operation)
_notice_decoder = msgspec.json.Decoder(_Notice)
_refusal_decoder = msgspec.json.Decoder(_Refusal)
_session_decoder = msgspec.json.Decoder(_Session)
