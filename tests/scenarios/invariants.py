"""What must never be wrong: the invariants, held against store, events, ledger, answers, webhooks and the providers' books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.idempotency import KEPT
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.ledger.verification import verify
from interlock.core.payments.model import FINAL_OUTCOMES, Payment
from interlock.core.payments.projection import PAYMENTS
from interlock.core.payments.records import next_due
from interlock.core.payments.states import STATUS, RefundState
from interlock.core.payments.verification import payment_check
from interlock.core.payments.views import encode_view, payment_view
from interlock.core.webhooks.events import DELIVERABLE
from interlock.simulator.model import Charge

if TYPE_CHECKING:
    from tests.scenarios.world import World


async def assert_invariants(world: World, *, settle: bool = True) -> None:
    """With `settle` everything open is brought to its end first, and the books must agree to the unit."""
    for payment in world.payments():
        assert_amounts(payment)
        assert_one_approval(payment)
        assert_nothing_forgotten(world, payment)
    assert_no_effect_twice(world)
    if not settle:
        return
    await world.settle()
    assert not world.crashes, world.crashes
    for payment in world.payments():
        assert_amounts(payment)
        assert_one_approval(payment)
        assert_nothing_forgotten(world, payment)
        assert_settled(payment)
        assert_books_agree(world, payment)
        await assert_read_model(world, payment)
    assert_no_effect_twice(world)
    await assert_ledger(world)
    await assert_told(world)
    for name in world.queue.names:
        assert (await world.queue.depth(name)).dead == 0, f"dead letters in {name}"
    await assert_answers_stand(world)
    await world.backing.assert_true()


def assert_amounts(payment: Payment) -> None:
    """1: captured <= authorised, refunded + disputed <= captured, nothing negative."""
    assert 0 <= payment.amount_captured <= payment.amount_authorized <= payment.amount, payment
    assert payment.amount_released >= 0 and payment.capturable >= 0, payment
    assert payment.refundable >= 0, payment
    assert payment.amount_captured == sum(capture.amount for capture in payment.captures), payment


def assert_one_approval(payment: Payment) -> None:
    """2, in our records: one approval that counts; every other one is marked late."""
    counts = [
        attempt
        for attempt in payment.attempts
        if attempt.operation is Action.AUTHORIZE and attempt.outcome is Outcome.APPROVED and not attempt.late
    ]
    assert len(counts) <= 1, payment.attempts


def assert_nothing_forgotten(world: World, payment: Payment) -> None:
    """6: what is open has a deadline, and the index knows the earliest one."""
    for attempt in payment.attempts:
        assert (attempt.deadline is None) == (attempt.outcome in FINAL_OUTCOMES), attempt
    assert world.due_at(payment) == next_due(payment), payment
    if STATUS[payment.state] in ("processing", "requires_action"):
        assert world.due_at(payment) is not None, payment
    if any(refund.state is RefundState.PENDING for refund in payment.refunds):
        assert world.due_at(payment) is not None, payment


def assert_no_effect_twice(world: World) -> None:
    """2, in the providers' books: nothing they were asked under one reference happened twice."""
    for instance in world.instances.values():
        assert all(operation.effects <= 1 for operation in instance.books.operations.values()), instance.name


def assert_settled(payment: Payment) -> None:
    assert STATUS[payment.state] != "processing", payment
    assert not payment.open_attempts, payment.open_attempts
    assert all(refund.state is not RefundState.PENDING for refund in payment.refunds), payment.refunds


def assert_books_agree(world: World, payment: Payment) -> None:
    """4: what the providers hold of this payment is what we say, to the unit, in at most one charge."""
    charges = [charge for one in world.instances.values() for charge in one.books.charges_of(payment_id=payment.id)]
    assert not (wrong := books_differ(payment, charges, world.clock.now())), (wrong, payment, charges)


def books_differ(payment: Payment, charges: Sequence[Charge], now: Millis) -> list[str]:
    """How the charges in the providers' books differ from what we say of the payment they are of. Nothing may be under way."""
    wrong = []
    if any(charge.metadata["tenant"] != payment.tenant for charge in charges):
        wrong.append("charged for another tenant")
    net = sum(charge.captured - charge.refunded for charge in charges)
    ours = payment.amount_captured - payment.amount_refunded - _overpaid(payment) + _come_back(payment)
    if net != ours:
        wrong.append(f"the providers have {net} of it, we say {ours}")
    disputed = sum(charge.disputed for charge in charges)
    ours = payment.amount_disputed + sum(one.excess for one in payment.disputes if one.state != "won")
    if disputed != ours:
        wrong.append(f"{disputed} are disputed, we say {ours}")
    held = sum(charge.capturable for charge in charges if charge.expires_at > now)
    ours = payment.capturable if STATUS[payment.state] == "requires_capture" else 0
    if held != ours:
        wrong.append(f"{held} are held, we say {ours}")
    holding = [one for one in charges if one.captured > one.refunded or (one.capturable and one.expires_at > now)]
    if len(holding) > 1 and not _come_back(payment):
        wrong.append(f"{len(holding)} charges hold money")
    return wrong


def _overpaid(payment: Payment) -> int:
    """Refunds that left although nothing was refundable any more: they stand in suspense, and in no refund of ours."""
    succeeded = {refund.id for refund in payment.refunds if refund.state is RefundState.SUCCEEDED}
    return sum(
        attempt.amount
        for attempt in payment.attempts
        if attempt.operation is Action.REFUND
        and attempt.late
        and attempt.outcome is Outcome.APPROVED
        and attempt.target not in succeeded
    )


def _come_back(payment: Payment) -> int:
    """Late approvals whose reversal the payer's bank sent back, or refused for good: in suspense, for a person."""
    refunds = [one for one in payment.attempts if one.reverses and one.operation is Action.REFUND]
    given_back = {one.target for one in refunds if one.outcome is Outcome.APPROVED}
    return sum(
        attempt.amount
        for attempt in payment.attempts
        if attempt.late and attempt.id in {one.target for one in refunds} - given_back
    )


async def assert_read_model(world: World, payment: Payment) -> None:
    """5: the consumers have come as far as the store."""
    document = await world.documents.get(PAYMENTS.name, payment.id, tenant=payment.tenant)
    assert document is not None and document.version == payment.version, payment
    assert document.body == encode_view(payment_view(payment))


async def assert_ledger(world: World) -> None:
    """3 and 5: journals sum to zero, balances are their fold, one event for each change, payments agree."""
    report = await verify(world.store, world.feed, check_payment=payment_check(world.store))
    assert report.sound, report.findings
    assert report.behind == 0
    assert report.payments == len(world.payments())


async def assert_told(world: World) -> None:
    """5: every event reached the merchant, those of one payment first in order."""
    if not world.hooked:
        return
    heard = list(dict.fromkeys(world.merchant.heard))
    for payment in world.payments():
        if payment.tenant != "ten_1":
            continue  # only one merchant listens
        due = [event.id for event in await world.store.history(payment.id) if event.type in DELIVERABLE]
        assert [event for event in heard if event in set(due)] == due, payment


async def assert_answers_stand(world: World) -> None:
    """7 and 8: what was acknowledged is there and is answered the same for good; another body is refused."""
    before = {name: dict(one.books.requested) for name, one in world.instances.items()}
    for (tenant, path, key), (body, answer) in list(world.answered.items()):
        if world.answered_at[tenant, path, key] + KEPT <= world.clock.now():
            continue
        again = await world.ask("POST", path, body, key=key, tenant=tenant)
        assert (again.status, again.body) == (answer.status, answer.body), (path, key, again)
        assert again.replayed
        other = await world.ask("POST", path, other_body(path, body), key=key, tenant=tenant)
        assert (other.status, other.json["code"]) == (422, "idempotency_key_reused"), other
        assert answer.json["id"] in {
            *(payment.id for payment in world.payments()),
            *(refund.id for payment in world.payments() for refund in payment.refunds),
        }
    after = {name: dict(one.books.requested) for name, one in world.instances.items()}
    assert after == before, "a replay reached a provider"


def other_body(path: str, body: object) -> dict[str, object]:
    """A body that is well-formed and means something else."""
    if path.endswith("/cancel"):
        return {"reason": "duplicate" if body != {"reason": "duplicate"} else "fraudulent"}
    if path.endswith("/confirm"):
        return {"return_url": "https://elsewhere.example.com/"}
    known = msgspec.to_builtins(body) if body else {}
    amount = known.get("amount") or 8
    return known | {"amount": amount - 1 if amount > 1 else 2}
