"""Once everything has come to rest: everything is known, everything delivered, and all books agree to the unit."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from interlock.core.kernel.idempotency import decode_record
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.ledger.verification import verify
from interlock.core.payments.commits import Reply
from interlock.core.payments.model import Payment
from interlock.core.payments.projection import PAYMENTS
from interlock.core.payments.states import STATUS, RefundState
from interlock.core.payments.verification import payment_check
from interlock.core.payments.views import encode_view, payment_view
from interlock.core.webhooks.events import DELIVERABLE
from tests.scenarios.invariants import books_differ, other_body
from tests.simulation.shops import HANDLERS, Refused, Shop

if TYPE_CHECKING:
    from tests.simulation.world import World

HORIZON_S = 4 * 3_600.0
"""After the last fault: longer than any pause between two looks into an uncertain payment and their sum since the first."""
AUTHORIZATIONS_OVER_S = 7 * 86_400.0
"""Until no authorisation stands any more; less than answers are kept."""
UNUSABLE = (b"_other_tenant", b"_unknown_reference")
"""Marks of forged news that is about no payment of ours: it dies, and people look at it."""


async def end(world: World, shops: list[Shop]) -> None:
    """Let everything come to rest, then hold everything against everything."""
    await asyncio.sleep(HORIZON_S)
    for known in world.watch.payments.values():
        _assert_known(world, known.payment)
    await asyncio.sleep(AUTHORIZATIONS_OVER_S)
    await world.loop.quiet()
    _assert_nothing_open(world)
    await assert_answers(world, shops)
    await world.loop.quiet()
    _assert_nothing_open(world)
    for known in world.watch.payments.values():
        _assert_known(world, known.payment)
        _assert_books_agree(world, known.payment)
        await _assert_read_model(world, known.payment)
    _assert_once(world, shops)
    _assert_told(world, shops)
    await _assert_ledger(world)


def _assert_known(world: World, payment: Payment) -> None:
    """6: nothing stays unknown or under way."""
    that = world.watch.that
    open_attempts = [one for one in payment.open_attempts if one.outcome is not Outcome.REQUIRES_ACTION]
    that(not open_attempts, "nothing stays unknown past its horizon", (payment, open_attempts))
    that(STATUS[payment.state] != "processing", "nothing stays under way past its horizon", payment)
    pending = [one for one in payment.refunds if one.state is RefundState.PENDING]
    that(not pending, "no refund stays pending past its horizon", (payment, pending))


def _assert_nothing_open(world: World) -> None:
    that = world.watch.that
    for name, kept in world.queue._queues.items():
        that(not kept.messages, "a queue is empty in the end", (name, len(kept.messages)))
        dead = [letter for letter in kept.dead.values() if not any(mark in letter.body for mark in UNUSABLE)]
        that(not dead, "nothing dies in a queue but news about nobody", (name, dead))
    that(world.unrelayed() == 0, "every event is relayed", world.unrelayed())
    that(world.unconsumed() == 0, "every group has come to the end", world.unconsumed())
    for name, company in world.instances.items():
        that(not company.books.untold, "every notification is taken", (name, company.books.untold))


def _assert_books_agree(world: World, payment: Payment) -> None:
    """4: what the companies hold of this payment is what we say, to the unit, in at most one charge."""
    charges = [charge for one in world.instances.values() for charge in one.books.charges_of(payment_id=payment.id)]
    wrong = books_differ(payment, charges, world.clock.now())
    world.watch.that(not wrong, "ledger, payments and the provider's books agree", (wrong, payment, charges))


async def _assert_read_model(world: World, payment: Payment) -> None:
    """5: the consumers have come as far as the store."""
    document = await world.documents.get(PAYMENTS.name, payment.id, tenant=payment.tenant)
    same = document is not None and document.body == encode_view(payment_view(payment))
    world.watch.that(same, "lists show the last state", payment)


async def _assert_ledger(world: World) -> None:
    """3 and 5: journals balance, balances are their fold, one event for each change, payments agree."""
    report = await verify(world.store, world.store, check_payment=payment_check(world.store))
    world.watch.that(report.sound, "the ledger verifies", report.findings)
    world.watch.that(report.behind == 0, "every journal is in the balances", report.behind)
    world.watch.that(report.payments == len(world.watch.payments), "every payment is verified", report.payments)


def _assert_once(world: World, shops: list[Shop]) -> None:
    """2 and 7: one effect for each request, and one for each reference in the companies' books."""
    that = world.watch.that
    for company in world.instances.values():
        for operation in company.books.operations.values():
            that(operation.effects <= 1, "nothing takes effect twice at a provider", (company.name, operation))
    references = Counter(known.payment.reference for known in world.watch.payments.values())
    for reference, count in references.items():
        that(count == 1, "one payment for each order", (reference, count))
    requests = {decode_record(item).request for item in world.watch.records.values()}
    for known in world.watch.payments.values():
        asked = Counter(
            one.request
            for one in known.payment.attempts
            if not one.reverses and one.request in requests and one.operation is not Action.AUTHORIZE
        )
        for request, count in asked.items():
            # An authorisation that was only reserved is captured on behalf of the same request.
            that(count == 1, "one operation for each request", (known.payment, request))


def _assert_told(world: World, shops: list[Shop]) -> None:
    """5: every event reached the merchant."""
    for shop in shops:
        for known in world.watch.payments.values():
            if known.payment.tenant != shop.tenant:
                continue
            history = world.store._histories[known.payment.id].values()
            due = [event.version for event in history if event.type in DELIVERABLE]
            heard = shop.endpoint.first.get(known.payment.id, [])
            world.watch.that(heard == due, "every event is told, in order", (known.payment, heard, due))


async def assert_answers(world: World, shops: list[Shop]) -> None:
    """7 and 8: what was acknowledged is answered the same for good, what was not is answered now; another body is refused."""
    requested = {name: dict(one.books.requested) for name, one in world.instances.items()}
    for shop in shops:
        for asked in list(shop.asked.values()):
            known = shop.answered.get(asked.place)
            answer = await shop.insist(asked)
            world.watch.that(answer is not None, "in calm weather every request is answered", asked.place)
            if known is None:
                continue
            # Of refusals of another body a third is proof enough.
            refuses = shop.dice.random() < 1 / 3
            repeated = isinstance(answer, Reply) and (answer.status, answer.body) == (known.status, known.body)
            world.watch.that(repeated, "an acknowledged answer is repeated byte for byte", (asked.place, answer))
            if not refuses:
                continue
            other = asked._replace(command=_other(asked.path, asked.command))
            refusal = await shop.ask(other)
            world.watch.that(
                isinstance(refusal, Refused) and refusal.code == "idempotency_key_reused",
                "the same key with another body is refused",
                (asked.place, refusal),
            )
    after = {name: dict(one.books.requested) for name, one in world.instances.items()}
    if all(asked.place in shop.answered for shop in shops for asked in shop.asked.values()):
        world.watch.that(after == requested, "a repetition reaches no provider", "")


def _other(path: str, command: object) -> object:
    """A command that is well-formed and means something else."""
    body = other_body(path, msgspec.to_builtins(command))
    kind = type(command)
    assert kind.__name__ and (path == "/v1/payments" or path.rsplit("/", 1)[-1] in HANDLERS)
    return msgspec.convert(body, kind)
