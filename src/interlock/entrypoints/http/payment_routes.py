"""Payments, refunds and disputes over HTTP: JSON to a command, the command's reply to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from msgspec import Meta

from interlock.core.kernel import ids
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.ids import id_pattern
from interlock.core.payments.commands import (
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    RefundPayment,
    Text,
)
from interlock.core.payments.commits import Reply
from interlock.core.payments.handlers import (
    cancel_payment,
    capture_payment,
    confirm_payment,
    create_payment,
    load_payment,
    load_refund,
    refund_payment,
)
from interlock.core.payments.ports import Payments
from interlock.core.payments.projection import DISPUTES, PAYMENTS
from interlock.core.payments.states import DisputeState
from interlock.core.payments.timeline import Timeline
from interlock.core.payments.views import (
    DisputeView,
    PaymentStatus,
    PaymentView,
    RefundView,
    encode_view,
    payment_view,
    refund_view,
)
from interlock.entrypoints.http.pagination import Instant, ListQuery, Page, find_page
from interlock.entrypoints.http.routing import Answer, Call, Described, Endpoint, Link, Route

Explain = Callable[[str, str], Awaitable[Timeline]]
"""Tenant and payment id -> the payment's timeline. Raises NotFound."""

REPLAYED = {"Idempotency-Replayed": "true"}
REPLAYED_NOTE = {
    "Idempotency-Replayed": "`true` when this is the stored answer of an earlier request with the same key."
}
PAYMENT_PATH = {"id": id_pattern(ids.PAYMENT)}
REFUND_PATH = {"id": id_pattern(ids.REFUND)}
BY_ID = {"id": "$response.body#/id"}
CREATE_BODY = Annotated[
    CreatePayment,
    Meta(
        extra_json_schema={
            "anyOf": [
                {"properties": {"payment_method": {"type": "object"}}, "required": ["payment_method"]},
                {"properties": {"confirm": {"const": False}}, "required": ["confirm"]},
            ]
        }
    ),
]
"""Confirmed at once with a payment method, or later."""
LINKS = (
    Link("get", 201, "getPayment", BY_ID, "The payment as it stands."),
    Link("confirm", 201, "confirmPayment", BY_ID, "Authorise one that was created with `confirm: false`."),
    Link("capture", 201, "capturePayment", BY_ID, "Take what is authorised."),
    Link("cancel", 201, "cancelPayment", BY_ID, "Release what is authorised."),
    Link("refund", 201, "refundPayment", BY_ID, "Give captured money back."),
    Link("timeline", 201, "getPaymentTimeline", BY_ID, "Everything that happened."),
)


class PaymentsQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    status: PaymentStatus | None = None
    customer: Text | None = None
    reference: Text | None = None
    created_after: Annotated[Instant | None, Meta(description="Only those created after this instant. RFC 3339.")] = (
        None
    )


class DisputesQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    status: DisputeState | None = None
    payment: Annotated[str, Meta(pattern=rf"^{id_pattern(ids.PAYMENT)}\Z")] | None = None


def payment_routes(p: Payments, documents: Documents, explain: Explain) -> tuple[Route, ...]:
    def command(handler: Callable[..., Awaitable[Reply]]) -> Endpoint:
        async def endpoint(call: Call) -> Answer:
            return _answer(await handler(p, call.path_params["id"], call.body, call.request()))

        return endpoint

    async def create(call: Call) -> Answer:
        request: Request = call.request()
        return _answer(await create_payment(p, call.body, request))

    async def get_payment(call: Call) -> Answer:
        held = await load_payment(p, call.principal.tenant, call.path_params["id"])
        return Answer(200, encode_view(payment_view(held.payment)))

    async def get_refund(call: Call) -> Answer:
        held = await load_refund(p, call.principal.tenant, call.path_params["id"])
        refund = held.payment.refund(call.path_params["id"])
        if refund is None:
            raise NotFound("no such refund")
        return Answer(200, encode_view(refund_view(held.payment, refund)))

    async def list_payments(call: Call) -> Answer:
        query: PaymentsQuery = call.query
        where = {"status": query.status, "customer": query.customer, "reference": query.reference}
        return await find_page(
            documents, PAYMENTS.name, call.principal.tenant, query, where, prefix=ids.PAYMENT, since=query.created_after
        )

    async def list_disputes(call: Call) -> Answer:
        query: DisputesQuery = call.query
        where = {"status": query.status, "payment": query.payment}
        return await find_page(documents, DISPUTES.name, call.principal.tenant, query, where, prefix=ids.DISPUTE)

    async def get_timeline(call: Call) -> Answer:
        return Answer(200, await explain(call.principal.tenant, call.path_params["id"]))

    def on_payment(name: str, handler: Callable[..., Awaitable[Reply]], body: Any, summary: str) -> Route:
        return Route(
            method="POST",
            path=f"/v1/payments/{{id}}/{name}",
            endpoint=command(handler),
            operation_id=f"{name}Payment",
            summary=summary,
            scope="payments:write",
            body=body,
            body_optional=True,
            path_patterns=PAYMENT_PATH,
            idempotent=True,
            answers={
                200: Described(PaymentView, "Done; `status` says where the payment stands.", headers=REPLAYED_NOTE),
                202: Described(PaymentView, "The outcome is not known yet.", headers=REPLAYED_NOTE),
            },
            problems=(409, 503),
            tags=("payments",),
        )

    return (
        Route(
            method="POST",
            path="/v1/payments",
            endpoint=create,
            operation_id="createPayment",
            summary="Create a payment and, unless `confirm` is false, authorise it",
            scope="payments:write",
            body=CREATE_BODY,
            idempotent=True,
            answers={
                201: Described(PaymentView, "Created. A decline is `status: failed`.", headers=REPLAYED_NOTE),
                202: Described(PaymentView, "Created; the outcome is not known yet.", headers=REPLAYED_NOTE),
            },
            problems=(409, 503),
            tags=("payments",),
            example={
                "amount": 1999,
                "currency": "EUR",
                "payment_method": {"type": "card", "token": "tok_approve"},
                "reference": "order-17",
            },
            links=LINKS,
        ),
        Route(
            method="GET",
            path="/v1/payments",
            endpoint=list_payments,
            operation_id="listPayments",
            summary="Payments, newest first; a moment behind the latest commit",
            scope="payments:read",
            query=PaymentsQuery,
            answers={200: Page[PaymentView]},
            tags=("payments",),
        ),
        Route(
            method="GET",
            path="/v1/payments/{id}",
            endpoint=get_payment,
            operation_id="getPayment",
            summary="A payment as it stands",
            scope="payments:read",
            path_patterns=PAYMENT_PATH,
            answers={200: PaymentView},
            tags=("payments",),
        ),
        on_payment("confirm", confirm_payment, ConfirmPayment, "Authorise a payment created with `confirm: false`"),
        on_payment("capture", capture_payment, CapturePayment, "Take all or part of what is authorised"),
        on_payment("cancel", cancel_payment, CancelPayment, "Release what is authorised and not captured"),
        Route(
            method="POST",
            path="/v1/payments/{id}/refunds",
            endpoint=command(refund_payment),
            operation_id="refundPayment",
            summary="Give captured money back",
            description="The amount is reserved before the provider is called.",
            scope="refunds:write",
            body=RefundPayment,
            body_optional=True,
            path_patterns=PAYMENT_PATH,
            idempotent=True,
            answers={
                201: Described(RefundView, "Decided: succeeded or failed.", headers=REPLAYED_NOTE),
                202: Described(RefundView, "Reserved; the outcome is not known yet.", headers=REPLAYED_NOTE),
            },
            problems=(409, 503),
            tags=("refunds",),
            links=(Link("get", 201, "getRefund", BY_ID, "The refund as it stands."),),
        ),
        Route(
            method="GET",
            path="/v1/refunds/{id}",
            endpoint=get_refund,
            operation_id="getRefund",
            summary="A refund as it stands",
            scope="payments:read",
            path_patterns=REFUND_PATH,
            answers={200: RefundView},
            tags=("refunds",),
        ),
        Route(
            method="GET",
            path="/v1/payments/{id}/timeline",
            endpoint=get_timeline,
            operation_id="getPaymentTimeline",
            summary="Everything that happened to a payment, in order",
            scope="payments:read",
            path_patterns=PAYMENT_PATH,
            answers={200: Timeline},
            tags=("payments",),
        ),
        Route(
            method="GET",
            path="/v1/disputes",
            endpoint=list_disputes,
            operation_id="listDisputes",
            summary="Disputes, newest first; a moment behind the latest commit",
            scope="payments:read",
            query=DisputesQuery,
            answers={200: Page[DisputeView]},
            tags=("disputes",),
        ),
    )


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, reply.body, REPLAYED if reply.replayed else {})
