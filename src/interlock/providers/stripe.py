"""Stripe, through PaymentIntents: one intent for each authorise attempt, created and confirmed in one request.

How it answers and what follows is in docs/providers/stripe.md.
Source: https://docs.stripe.com/api/payment_intents, /api/refunds, /error-low-level, /webhooks/signature
(checked 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from interlock.core.kernel.providers import (
    Action,
    Capabilities,
    Decline,
    Notification,
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
from interlock.providers.stripe_notifications import read_event, verify
from interlock.providers.stripe_objects import (
    CURRENCIES,
    ErrorBody,
    IntentPage,
    Method,
    PaymentIntent,
    Refund,
    RefundPage,
    StripeError,
    card_of_method,
    decline_of,
    refund_of,
    result_of,
    to_stripe,
    unknown,
)

API_VERSION = "2026-07-29.dahlia"
"""Sent with every request, so that an account's default version changes nothing here.

The next major version (endive) refuses `payment_method_types`, without which an intent may pick a redirecting method.
"""
IDEMPOTENCY_HEADER = "Idempotency-Key"
PAGE = 100
LIST_PAGES_MAX = 10
"""A lookup without the intent's id reads at most so many pages before it falls back to search."""
CLOCK_SKEW_S = 300
"""How far Stripe's clock may be behind ours when a list is limited by time of creation."""
DAY_MS = 24 * 3_600_000

Params = list[tuple[str, str]]
Retrieval = Generator[HttpRequest, "HttpReply | Fault", "PaymentIntent | None"]
_T = TypeVar("_T")


class StripeProvider:
    """One Stripe account. `multicapture` is a feature Stripe switches on for an account; without it a capture is final."""

    credential_names: tuple[str, ...] = ("secret_key",)
    signing_secret_name = "webhook_secret"

    def __init__(self, name: str = "stripe", *, multicapture: bool = False) -> None:
        self.name = name
        self._multicapture = multicapture
        self.capabilities = Capabilities(
            actions=frozenset({Action.AUTHORIZE, Action.CAPTURE, Action.VOID, Action.REFUND, Action.LOOKUP}),
            methods=frozenset({"card"}),
            currencies=CURRENCIES,
            partial_capture=True,
            multiple_captures=multicapture,
            idempotency_key_lifetime_ms=DAY_MS,
            lookup_by_our_reference=True,
            lookup_settles_after_ms=90_000,
            authorization_lifetime_ms=7 * DAY_MS,
        )

    def run(self, op: Operation, ctx: Context) -> Conversation:
        if op.action is Action.LOOKUP:
            if op.target is Action.REFUND:
                return self._lookup_refund(op, ctx)
            return self._lookup(op, ctx)
        if op.action is Action.REFUND:
            return self._refund(op, ctx)
        return self._authorize(op, ctx) if op.action is Action.AUTHORIZE else self._act(op, ctx)

    def notifications(self, raw: RawNotification, secrets: Mapping[str, list[Secret]]) -> list[Notification]:
        """See `Provider.notifications`. The secret is `webhook_secret`; Stripe signs with each valid one."""
        verify(raw, secrets.get(self.signing_secret_name, []))
        return read_event(raw.body)

    def _authorize(self, op: Operation, ctx: Context) -> Conversation:
        """A card token is first made a payment method, which moves nothing; then as `_act`."""
        if op.token.startswith("tok_"):
            reply = yield _prepare(op, ctx)
            if isinstance(reply, Fault):
                return unknown(reply.kind.value)
            made = _read(reply, Method) if reply.status == 200 else None
            if made is None:
                body = _read(reply, ErrorBody) if 400 <= reply.status < 500 else None
                return unknown(f"http_{reply.status}") if body is None else refusal_of(reply, body.error)
            result = yield from self._act(msgspec.structs.replace(op, token=made.id), ctx)
            # Stripe has shown the card before money could move: it is known however this ends.
            known = card_of_method({"card": made.card})
            return msgspec.structs.replace(result, card=result.card.with_issuer_of(known) if result.card else known)
        return (yield from self._act(op, ctx))

    def _act(self, op: Operation, ctx: Context) -> Conversation:
        """Authorise, capture or release: one request, and a look at the intent where its answer is a replay or a no."""
        path, params = self._request_of(op)
        if params is None:
            return _refuse("the amount cannot be expressed at this provider")
        reply = yield _post(path, params, ctx)
        if isinstance(reply, Fault):
            return unknown(reply.kind.value)
        intent = _read(reply, PaymentIntent) if reply.status == 200 else None
        if intent is None:
            return (yield from self._not_done(op, ctx, reply))
        if reply.headers.get("idempotent-replayed") == "true":
            # The answer as it was then; the intent may have moved on since.
            intent = (yield from self._retrieve(intent.id, ctx)) or intent
        return self._judge(op, op.action, intent)

    def _not_done(self, op: Operation, ctx: Context, reply: HttpReply) -> Conversation:
        """No intent came back: refused, declined, or in doubt."""
        body = _read(reply, ErrorBody) if 400 <= reply.status < 500 else None
        if body is None:
            return unknown(f"http_{reply.status}")
        error = body.error
        result = refusal_of(reply, error)
        intent = error.payment_intent
        if result.outcome is not Outcome.DECLINED:
            return result
        if op.action is Action.AUTHORIZE:
            if intent is not None and not _is_ours(intent, op):
                return unknown("reference_mismatch", reference=intent.id)
            reference = None if intent is None else intent.id
            return msgspec.structs.replace(
                result, provider_reference=reference, card=card_of_method(error.payment_method)
            )
        if error.code == "payment_intent_unexpected_state" and op.provider_reference is not None:
            # Perhaps it is done already, by an earlier sending of this very request: the intent knows.
            found = yield from self._retrieve(op.provider_reference, ctx)
            if found is None:
                return unknown(error.code)
            seen = self._judge(op, op.action, found)
            if seen.outcome is not Outcome.NOT_SENT:
                return seen
        return msgspec.structs.replace(result, provider_reference=op.provider_reference)

    def _refund(self, op: Operation, ctx: Context) -> Conversation:
        amount = to_stripe(op.amount)
        if amount is None:
            return _refuse("the amount cannot be expressed at this provider")
        params = [("payment_intent", op.provider_reference or ""), ("amount", str(amount)), *_metadata(op)]
        reply = yield _post("/v1/refunds", params, ctx)
        if isinstance(reply, Fault):
            return unknown(reply.kind.value)
        if reply.status != 200:
            body = _read(reply, ErrorBody) if 400 <= reply.status < 500 else None
            if body is None:
                return unknown(f"http_{reply.status}")
            result = refusal_of(reply, body.error)
            return msgspec.structs.replace(result, provider_reference=op.provider_reference)
        refund = _read(reply, Refund)
        if refund is None or refund.object != "refund":
            return unknown("unreadable")
        if (refund.metadata or {}).get("attempt_id") != op.attempt_id:
            return unknown("reference_mismatch")
        return refund_of(refund)

    def _lookup(self, op: Operation, ctx: Context) -> Conversation:
        """What became of an authorisation, a capture or a release."""
        target = op.target or Action.AUTHORIZE
        if op.provider_reference is not None:
            intent = yield from self._retrieve(op.provider_reference, ctx)
            return unknown("lookup_failed") if intent is None else self._judge(op, target, intent)
        if target is not Action.AUTHORIZE:
            return unknown("no_reference")
        params = [("created[gte]", str(op.started_at // 1_000 - CLOCK_SKEW_S)), ("limit", str(PAGE))]
        cursor: Params = []
        for _ in range(LIST_PAGES_MAX):
            page = _answer((yield _get("/v1/payment_intents", params + cursor, ctx)), IntentPage)
            if page is None:
                return unknown("lookup_failed")
            for found in page.data:
                if found.metadata.get("attempt_id") == op.attempt_id:
                    # Again by its id, for the card and the charge.
                    return self._judge(op, target, (yield from self._retrieve(found.id, ctx)) or found)
            if not page.has_more or not page.data:
                return Result(Outcome.NOT_SENT, detail="not found")
            cursor = [("starting_after", page.data[-1].id)]
        return (yield from self._search(op, ctx))

    def _search(self, op: Operation, ctx: Context) -> Conversation:
        """Too many intents since to list: search, which lags, so that not finding proves nothing."""
        query = [("query", f'metadata["attempt_id"]:"{op.attempt_id}"')]
        page = _answer((yield _get("/v1/payment_intents/search", query, ctx)), IntentPage)
        for found in page.data if page is not None else ():
            if found.metadata.get("attempt_id") == op.attempt_id:
                return self._judge(op, Action.AUTHORIZE, (yield from self._retrieve(found.id, ctx)) or found)
        return unknown("not_found_by_search")

    def _lookup_refund(self, op: Operation, ctx: Context) -> Conversation:
        if op.target_reference is not None:
            path = f"/v1/refunds/{quote(op.target_reference, safe='')}"
            refund = _answer((yield _get(path, [], ctx)), Refund)
            return unknown("lookup_failed") if refund is None else refund_of(refund)
        if op.provider_reference is None:
            return unknown("no_reference")
        params = [("payment_intent", op.provider_reference), ("limit", str(PAGE))]
        cursor: Params = []
        for _ in range(LIST_PAGES_MAX):
            page = _answer((yield _get("/v1/refunds", params + cursor, ctx)), RefundPage)
            if page is None:
                return unknown("lookup_failed")
            for found in page.data:
                if (found.metadata or {}).get("attempt_id") == op.attempt_id:
                    return refund_of(found)
            if not page.has_more or not page.data:
                return Result(Outcome.NOT_SENT, detail="not found")
            cursor = [("starting_after", page.data[-1].id)]
        return unknown("too_many_refunds")

    def _retrieve(self, intent_id: str, ctx: Context) -> Retrieval:
        """The intent as it is now, or None if that cannot be told."""
        path = f"/v1/payment_intents/{quote(intent_id, safe='')}"
        return _answer((yield _get(path, [("expand[]", "latest_charge")], ctx)), PaymentIntent)

    def _request_of(self, op: Operation) -> tuple[str, Params | None]:
        """Path and form of a request that may move money; no form when the amount cannot be said."""
        if op.action is Action.VOID:
            return f"/v1/payment_intents/{quote(op.provider_reference or '', safe='')}/cancel", _EXPAND
        amount = to_stripe(op.amount)
        if op.action is Action.CAPTURE:
            path = f"/v1/payment_intents/{quote(op.provider_reference or '', safe='')}/capture"
            if amount is None:
                return path, None
            params = [("amount_to_capture", str(amount)), *_EXPAND]
            if self._multicapture:
                params += [("final_capture", _flag(op.final)), (f"metadata[{_mark(op)}]", str(amount))]
            return path, params
        return "/v1/payment_intents", None if amount is None else self._intent(op, amount)

    def _intent(self, op: Operation, amount: int) -> Params:
        params = [
            ("amount", str(amount)),
            ("currency", op.amount.currency.lower()),
            ("confirm", "true"),
            ("capture_method", "automatic" if op.capture else "manual"),
            ("payment_method_types[]", "card"),
            ("payment_method", op.token),
            # With nowhere to send the payer, the payer is not there: an issuer that wants authentication declines.
            ("return_url", op.return_url) if op.return_url else ("off_session", "true"),
        ]
        if op.description:
            params.append(("description", op.description))
        if self._multicapture:
            params.append(("payment_method_options[card][request_multicapture]", "if_available"))
        return [*params, *_metadata(op), *_EXPAND]

    def _judge(self, op: Operation, action: Action, intent: PaymentIntent) -> Result:
        if intent.object != "payment_intent" or not _is_ours(intent, op, action):
            return unknown("reference_mismatch", reference=intent.id)
        if self._multicapture and action is Action.CAPTURE:
            marked = intent.metadata.get(_mark(op))
            if marked is None:
                return result_of(action, intent, capture=op.capture) if intent.status == "canceled" else _NOT_CAPTURED
            echoed = op.amount if marked == str(to_stripe(op.amount)) else None
            return Result(Outcome.APPROVED, provider_reference=intent.id, amount=echoed, captured=True)
        if self._multicapture and action is Action.VOID and intent.status == "succeeded":
            left = intent.amount - (intent.received or 0)
            if left == to_stripe(op.amount):  # cancelling a partly captured intent ends it as succeeded
                return Result(Outcome.APPROVED, provider_reference=intent.id, amount=op.amount)
        return result_of(action, intent, capture=op.capture)


def refusal_of(reply: HttpReply, error: StripeError) -> Result:
    """What an error that Stripe puts in words means. Nothing moved, except where the words leave it open."""
    code = error.code or error.type or "error"
    if reply.status == 409:
        return unknown(code)  # the same key is being worked on
    if error.type == "idempotency_error":
        return unknown("idempotency_key_reused")  # something else was done under this key
    if reply.status == 429:
        return Result(Outcome.NOT_SENT, detail=code, retry_after_s=_retry_after(reply))
    if reply.status in (401, 403):
        return Result(Outcome.NOT_SENT, detail="credentials_refused")
    if reply.status == 402 or error.type == "card_error":
        return Result(Outcome.DECLINED, decline=decline_of(error))
    if reply.status in (400, 404):
        known = decline_of(error)
        if known.code != "declined":
            return Result(Outcome.DECLINED, decline=known, detail=code)
        method = (error.param or "").startswith("payment_method")
        reason, retry = (
            ("invalid_payment_method", Retry.NEW_CREDENTIAL) if method else ("refused", Retry.OTHER_PROVIDER)
        )
        return Result(Outcome.DECLINED, decline=Decline("hard", reason, retry, code), detail=code)
    return unknown(code)


def _refuse(why: str) -> Result:
    """Our own no, before anything is sent: nothing Stripe could take."""
    return Result(Outcome.DECLINED, decline=Decline("hard", "invalid_amount", Retry.OTHER_PROVIDER, message=why))


def _is_ours(intent: PaymentIntent, op: Operation, action: Action = Action.AUTHORIZE) -> bool:
    """Whether the intent is the one we speak of: by our attempt for an authorisation, by its id for what follows."""
    if action is Action.AUTHORIZE:
        return intent.metadata.get("attempt_id") == op.attempt_id
    return intent.id == op.provider_reference


def _metadata(op: Operation) -> Params:
    ours = {**op.metadata, "attempt_id": op.attempt_id, "payment_id": op.payment_id, "tenant": op.tenant}
    return [(f"metadata[{name}]", value) for name, value in ours.items()]


def _mark(op: Operation) -> str:
    """The metadata key by which a capture is recognised on an intent that can have several."""
    return f"capture_{op.attempt_id}"[:40]


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _headers(ctx: Context) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {ctx.credentials['secret_key'].reveal()}",
        "Stripe-Version": API_VERSION,
    }


def _post(path: str, params: Params, ctx: Context) -> HttpRequest:
    headers = _headers(ctx)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return HttpRequest("POST", path, Phase.COMMIT, headers, urlencode(params).encode(), IDEMPOTENCY_HEADER)


def _prepare(op: Operation, ctx: Context) -> HttpRequest:
    """Under a key of its own: Stripe refuses one key for two kinds of request."""
    params = [("type", "card"), ("card[token]", op.token)]
    headers = _headers(ctx)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    headers[IDEMPOTENCY_HEADER] = f"{op.attempt_id}-method"
    return HttpRequest("POST", "/v1/payment_methods", Phase.PREPARE, headers, urlencode(params).encode())


def _get(path: str, params: Params, ctx: Context) -> HttpRequest:
    return HttpRequest("GET", f"{path}?{urlencode(params)}" if params else path, Phase.READ, _headers(ctx))


def _answer(reply: HttpReply | Fault, kind: type[_T]) -> _T | None:
    """The object a look brought, or None for anything else."""
    return _read(reply, kind) if isinstance(reply, HttpReply) and reply.status == 200 else None


def _read(reply: HttpReply, kind: type[_T]) -> _T | None:
    """The body as `kind`, or None if it is not one."""
    try:
        read: _T = _DECODERS[kind].decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return read


def _retry_after(reply: HttpReply) -> float | None:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


_EXPAND: Params = [("expand[]", "latest_charge")]
_NOT_CAPTURED = Result(Outcome.NOT_SENT, detail="not captured")
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (PaymentIntent, Refund, Method, IntentPage, RefundPage, ErrorBody)
}
