"""What people and tests do to simulated providers: read books, set faults, play the payer and the payer's bank."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from interlock.simulator.books import rows, totals
from interlock.simulator.faults import FaultPlan
from interlock.simulator.instance import SimulatedProvider
from interlock.simulator.messages import Reaction, Reply, Request, json_reply, refusal
from interlock.simulator.model import Charge, DisputeStatus, Status

_NO_SUCH_PATH = refusal(404, "no_such_path", "there is nothing here")


class DisputeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name the charge by its id, by the payment's or by the attempt's."""

    status: DisputeStatus
    charge: str | None = None
    payment_id: str | None = None
    attempt_id: str | None = None
    amount: Annotated[int, Meta(ge=1)] | None = None
    reason: Annotated[str, Meta(max_length=100)] = "general"


class ReturnOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    attempt_id: str
    """Of the refund that the payer's bank sends back."""


def react(instance: SimulatedProvider, request: Request) -> Reaction:
    """React to any request to one instance."""
    if request.path.startswith("/v1/"):
        return instance.handle(request)
    instance.advance()
    try:
        return Reaction(_control(instance, request))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Reaction(refusal(400, "invalid_request", str(error)[:300]))


def _control(instance: SimulatedProvider, request: Request) -> Reply:
    match request.method, request.path.split("/")[1:]:
        case "GET", ["healthz"]:
            return json_reply(200, {"status": "ok"})
        case "GET", ["books"]:
            return json_reply(200, {"instance": instance.name, **books_of(instance, request.query)})
        case "GET", ["faults"]:
            return json_reply(200, instance.dice.plan)
        case "PUT", ["faults"]:
            plan = read_plan(request.body)
            instance.set_plan(plan)
            return json_reply(200, plan)
        case "POST", ["reset"]:
            instance.reset()
            return json_reply(200, {"status": "reset"})
        case "POST", ["disputes"]:
            return _dispute(instance, msgspec.json.decode(request.body, type=DisputeOrder))
        case "POST", ["returns"]:
            return _return(instance, msgspec.json.decode(request.body, type=ReturnOrder))
        case "GET", ["3ds", charge_id] if charge_id in instance.books.charges:
            return _challenge_page(instance, instance.books.charges[charge_id])
        case "POST", ["3ds", charge_id, "complete"] if charge_id in instance.books.charges:
            return _complete(instance, instance.books.charges[charge_id], request)
    return _NO_SUCH_PATH


def read_plan(body: bytes) -> FaultPlan:
    """Raises ValidationError or DecodeError for what is no plan."""
    return msgspec.json.decode(body, type=FaultPlan)


def books_of(instance: SimulatedProvider, query: str = "") -> dict[str, Any]:
    """`?attempt_id=` and `?payment_id=` narrow the operations, `?view=totals` leaves them and the charges out."""
    wanted = {name: values[0] for name, values in parse_qs(query).items()}
    books = instance.books
    shown: dict[str, Any] = {"totals": totals(books.charges.values())}
    if wanted.get("view") == "totals":
        return shown
    payment_id = wanted.get("payment_id")
    shown["operations"] = rows(books, attempt_id=wanted.get("attempt_id"), payment_id=payment_id)
    shown["charges"] = [
        _charge_row(instance, charge)
        for charge in books.charges.values()
        if payment_id is None or charge.metadata.get("payment_id") == payment_id
    ]
    return shown


def _charge_row(instance: SimulatedProvider, charge: Charge) -> dict[str, Any]:
    return {
        "charge": charge.id,
        "attempt_id": instance.books.operations[charge.operation].reference,
        "payment_id": charge.metadata.get("payment_id"),
        "card": charge.card,
        "currency": charge.currency,
        "amount": charge.amount,
        "authorized": charge.authorized,
        "captured": charge.captured,
        "released": charge.released,
        "refunded": charge.refunded,
        "disputed": charge.disputed,
        "disputes": charge.disputes,
    }


def _dispute(instance: SimulatedProvider, order: DisputeOrder) -> Reply:
    charge = _charge_meant(instance, order)
    if charge is None:
        return refusal(404, "charge_unknown", "there is no such charge")
    if order.status is DisputeStatus.OPENED:
        dispute = instance.books.open_dispute(charge, order.amount, order.reason)
        if dispute is None:
            return refusal(409, "nothing_to_dispute", "the charge holds less than that")
    else:
        dispute = next((known for known in charge.disputes if known.status is DisputeStatus.OPENED), None)
        if dispute is None or not instance.books.decide_dispute(charge, dispute, order.status):
            return refusal(409, "no_open_dispute", "the charge has no open dispute")
    instance.disputed(charge, dispute)
    return json_reply(200, {"charge": charge.id, "dispute": dispute})


def _charge_meant(instance: SimulatedProvider, order: DisputeOrder) -> Charge | None:
    books = instance.books
    if order.charge is not None:
        return books.charges.get(order.charge)
    if order.attempt_id is not None:
        operation = books.operation(order.attempt_id)
        return books.charges[operation.charge] if operation is not None else None
    if order.payment_id is None:
        raise ValueError("name the charge, the payment_id or the attempt_id")
    return next((charge for charge in books.charges_of(payment_id=order.payment_id) if charge.captured), None)


def _return(instance: SimulatedProvider, order: ReturnOrder) -> Reply:
    operation = instance.books.operation(order.attempt_id)
    if operation is None or not instance.books.return_refund(operation):
        return refusal(409, "nothing_to_return", "there is no such refund")
    instance.changed(operation)
    return json_reply(200, instance.document(operation))


def _challenge_page(instance: SimulatedProvider, charge: Charge) -> Reply:
    waits = instance.books.operations[charge.operation].status is Status.REQUIRES_ACTION
    action = escape(f"{charge.id}/complete", quote=True)
    buttons = (
        f"<form method=post action='{action}'>"
        "<button name=result value=authenticated>Confirm</button> <button name=result value=failed>Refuse</button></form>"
    )
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Your bank asks</title>"
        "<body style='font:16px system-ui;max-width:32rem;margin:4rem auto'><h1>Your bank asks</h1>"
        f"<p>Pay {charge.amount} minor units of {escape(charge.currency)}?</p>"
        f"{buttons if waits else '<p>This question has been answered.</p>'}"
    )
    guard = (
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("cache-control", "no-store"),
    )
    return Reply(200, page.encode(), guard, "text/html; charset=utf-8")


def _complete(instance: SimulatedProvider, charge: Charge, request: Request) -> Reply:
    form = not request.body.lstrip().startswith(b"{")
    if form:
        result = parse_qs(request.body.decode("ascii", "replace")).get("result", [""])[0]
    else:
        result = msgspec.json.decode(request.body, type=dict[str, str]).get("result", "")
    if result not in ("authenticated", "failed"):
        return refusal(400, "invalid_request", "result is authenticated or failed")
    done = instance.complete_challenge(charge, authenticated=result == "authenticated")
    if form and charge.return_url is not None:
        return Reply(303, b"", (("location", charge.return_url),))
    if not done:
        return refusal(409, "already_answered", "nothing waits for the payer")
    operation = instance.books.operations[charge.operation]
    return json_reply(200, {"status": operation.status, "return_url": charge.return_url})
