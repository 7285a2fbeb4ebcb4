"""Looks at every commit the moment it is made, and at every request to a provider before it arrives.

Whatever is checked here holds at every instant, also in the middle of a crash. What is only true once everything has come to
rest is checked in `ending.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.kernel.store import ABSENT, Item, Key, Put, Write
from interlock.core.ledger.model import Journal
from interlock.core.ledger.model import fault as journal_fault
from interlock.core.ledger.records import stored_journal
from interlock.core.ledger.totals import payment_totals
from interlock.core.payments.model import FINAL_OUTCOMES, Attempt, Payment, decode_payment
from interlock.core.payments.records import next_due
from interlock.core.payments.states import STATUS, TRANSITIONS, DisputeState, RefundState, State
from interlock.core.payments.verification import against_journals
from interlock.core.payments.views import encode_view, payment_view
from interlock.entrypoints.worker import RELAY_POSITION
from interlock.providers.protocol import HttpReply, HttpRequest, Phase
from interlock.simulator.books import Books
from interlock.simulator.model import Kind, Operation, Status

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

MOVES = frozenset((before, after) for (before, _), after in TRANSITIONS.items()) | {
    # Two moves of the table in one commit.
    (State.AUTHORIZING, State.CAPTURING),
    (State.PENDING, State.CAPTURING),
    (State.UNCERTAIN, State.CAPTURING),
    (State.REQUIRES_ACTION, State.CAPTURING),
    (State.REQUIRES_PAYMENT_METHOD, State.AUTHORIZING),
}
VERBS = {"capture": Action.CAPTURE, "void": Action.VOID, "refunds": Action.REFUND}


class Violation(AssertionError):
    """Something that must never be so."""

    def __init__(self, rule: str, subject: object) -> None:
        super().__init__(f"{rule}: {subject}")
        self.rule = rule


class Known(NamedTuple):
    """A payment as last committed."""

    payment: Payment
    item_version: int


class Watch:
    def __init__(self, world: World) -> None:
        self._world = world
        self.checks: Counter[str] = Counter()
        self.payments: dict[str, Known] = {}
        self.attempts: dict[str, str] = {}
        """Attempt -> its payment, for all that are on record."""
        self.records: dict[Key, Item] = {}
        """Idempotency records by their keys."""
        self.falsified: set[str] = set()
        """Attempts that had an answer about another amount, currency or reference ..."""
        self.told: set[str] = set()
        """... and those of which a true word went out, too."""
        self.slept_over: set[str] = set()
        """Attempts whose request left late: its node stood still behind the last look at the clock, which nobody can prevent."""
        self.journals: dict[str, list[Journal]] = {}
        """Payment -> its journals."""
        self.relayed = 0
        self.violation: Violation | None = None
        """The first one; what comes after it may be its consequence."""
        self.commits = 0
        self._versions: dict[Key, int] = {}

    def that(self, holds: bool, rule: str, subject: object = "") -> None:
        """Check one thing. Raises Violation, and ends the run whoever catches it."""
        self.checks[rule] += 1
        if not holds:
            raise self.violated(rule, subject)

    def violated(self, rule: str, subject: object) -> Violation:
        """End the run."""
        violation = Violation(rule, subject)
        if self.violation is None:
            self.violation = self._world.loop.broken = violation
            self._world.trace.add("-", "VIOLATION", str(violation))
        return violation

    def defect(self, what: str) -> None:
        """Something no fault from outside explains."""
        self.violated("nothing fails without a cause", what)

    # Commits

    def committed(self, writes: Sequence[Write], events: Sequence[Event]) -> None:
        self.commits += 1
        for write in writes:
            before = self._versions.get(write.key, ABSENT)
            self.that(write.expected == before, "a write succeeds on the version it names", write.key)
            self._versions[write.key] = before + 1
        payments = [write for write in writes if isinstance(write, Put) and write.key.sort == "payment"]
        for write in writes:
            if isinstance(write, Put) and "/jrn/" in write.key.partition:
                self._journal(write, bool(payments))
        for write in writes:
            if not isinstance(write, Put):
                continue
            if write.key.sort == "record" and "/idem/" in write.key.partition:
                self._claimed(write, bool(payments))
            elif write.key == RELAY_POSITION:
                self.relayed = int(write.value)
        for write in payments:
            self._payment(write, events)

    def _claimed(self, write: Put, with_payment: bool) -> None:
        known = self.records.get(write.key)
        item = Item(write.key, write.expected + 1, write.value, {}, write.expires_at)
        self.records[write.key] = item
        now = self._world.clock.now()
        expired = known is None or (known.expires_at or 0) <= now + 10_000
        self.that(expired, "an idempotency record is written once", write.key)
        self.that(with_payment, "an idempotency record is written with the change it stands for", write.key)

    def _payment(self, write: Put, events: Sequence[Event]) -> None:
        payment = decode_payment(write.value)
        known = self.payments.get(payment.id)
        self.payments[payment.id] = Known(payment, write.expected + 1)
        trace = self._world.trace
        name = events[0].type if events else "(book-keeping)"
        trace.add("store", "committed", payment.id, f"v{payment.version}", payment.state.value, name)
        self._amounts(payment)
        self._attempts(payment, known.payment if known else None)
        self._events(payment, known.payment if known else None, events)
        before = known.payment.state if known else None
        moved = before is None or before is payment.state or (before, payment.state) in MOVES
        self.that(moved, "a state is left by a move of the table", (payment.id, before, payment.state))
        self._deadlines(payment, write)
        if events:
            differences = against_journals(payment, payment_totals(self.journals.get(payment.id, ())))
            self.that(not differences, "a payment and its journals agree after every commit", (payment, differences))

    def _amounts(self, payment: Payment) -> None:
        fits = 0 <= payment.amount_captured <= payment.amount_authorized <= payment.amount
        self.that(fits, "captured <= authorised <= asked for", payment)
        self.that(payment.amount_captured == sum(one.amount for one in payment.captures), "captures add up", payment)
        taken = sum(one.amount for one in payment.refunds if one.state is not RefundState.FAILED)
        taken += sum(one.amount for one in payment.disputes if one.state is not DisputeState.WON)
        self.that(taken <= payment.amount_captured, "refunded, reserved and disputed <= captured", payment)
        left = payment.amount_authorized - payment.amount_captured - payment.amount_released
        self.that(left >= 0 and payment.amount_released >= 0, "captured and released <= authorised", payment)

    def _attempts(self, payment: Payment, before: Payment | None) -> None:
        approved = [
            one
            for one in payment.attempts
            if one.operation is Action.AUTHORIZE and one.outcome is Outcome.APPROVED and not one.late
        ]
        self.that(len(approved) <= 1, "one approved authorisation at most", payment)
        known = {one.id for one in before.attempts} if before else set()
        for attempt in payment.attempts:
            if attempt.id in known:
                continue
            self.attempts[attempt.id] = payment.id
            doubtful = before is not None and before.has_unknown and not attempt.reverses
            still = any(one.outcome is Outcome.UNKNOWN for one in payment.attempts)
            self.that(not (doubtful and still), "nothing starts while an outcome is unknown", (payment, attempt.id))
            if attempt.operation is Action.REFUND and not attempt.reverses:
                reserved = payment.refund(attempt.target or "")
                self.that(
                    reserved is not None and reserved.amount == attempt.amount,
                    "a refund is reserved before it is asked for",
                    payment,
                )
        self.that(len(known - {one.id for one in payment.attempts}) == 0, "an attempt is never forgotten", payment)
        if before is not None:
            self._last_words(payment, before)

    def _last_words(self, payment: Payment, before: Payment) -> None:
        """An approval stays one, unless a bank returns a refund; and no word is said that the books do not bear out."""
        for attempt in payment.attempts:
            known = before.attempt(attempt.id)
            if known is None or known.outcome is attempt.outcome:
                continue
            operation = self._world.instances[attempt.provider].books.operation(attempt.id)
            moved = operation is not None and operation.effects > 0
            if attempt.outcome is Outcome.NOT_SENT:
                awaited = attempt.id in self._world.instances[attempt.provider].accepts_later()
                nothing = attempt.id in self.slept_over or not (moved or awaited)
                self.that(nothing, "not sent means that nothing was booked, nor will be", payment)
            elif attempt.outcome is Outcome.APPROVED:
                self.that(
                    moved or _is_moot(attempt, operation), "approved means that it was booked", (payment, attempt)
                )
                doubtful = attempt.id in self.falsified and attempt.id not in self.told
                self.that(not doubtful, "an answer about other money is not believed", payment)
            elif attempt.outcome is Outcome.DECLINED and payment.token != "tok_late_approval":
                stands = moved and not _undone(operation, self._world.instances[attempt.provider].books)
                self.that(not stands, "declined means that nothing is held or taken", (payment, attempt))
        for attempt in before.attempts:
            if attempt.outcome is not Outcome.APPROVED or attempt.operation is Action.REFUND:
                continue
            now = payment.attempt(attempt.id)
            self.that(now is not None and now.outcome is Outcome.APPROVED, "an approval stands", (payment, attempt.id))

    def _events(self, payment: Payment, before: Payment | None, events: Sequence[Event]) -> None:
        version = before.version if before else 0
        mine = [event for event in events if event.aggregate == payment.id]
        if not mine:
            self.that(payment.version == version, "a new version has an event", payment)
            self.that(before is not None and _bookkeeping_only(before, payment), "a change has an event", payment)
            return
        one_each = len(mine) == 1 and mine[0].version == payment.version == version + 1
        self.that(one_each, "one change, one event, the next version", payment)
        snapshot = bytes(_members.decode(mine[0].data)["payment"])
        self.that(
            snapshot == encode_view(payment_view(payment)), "an event shows the payment it was committed with", payment
        )

    def _deadlines(self, payment: Payment, write: Put) -> None:
        for attempt in payment.attempts:
            # One that is over may have a deadline while its last word is in doubt.
            looked_at = attempt.deadline is not None or attempt.outcome in FINAL_OUTCOMES
            self.that(looked_at, "what is open has a deadline", (payment, attempt.id))
        place = write.indexes.get("due")
        indexed = None if place is None else int(place.sort.partition("/")[0])
        self.that(indexed == next_due(payment), "the index knows the earliest deadline", payment)
        if STATUS[payment.state] in ("processing", "requires_action"):
            self.that(indexed is not None, "what is under way is looked into", payment)

    def _journal(self, write: Put, with_payment: bool) -> None:
        stored = stored_journal(Item(write.key, 1, write.value, {}, None))
        journal = stored.journal
        self.that(stored.is_intact and not journal_fault(journal), "a journal balances", journal)
        self.that(write.expected == ABSENT and with_payment, "a journal is written once, with its payment", journal)
        self.journals.setdefault(journal.payment, []).append(journal)

    # Requests to providers

    def asks(self, node: Node, provider: str, request: HttpRequest) -> None:
        """A request of `node` on its way to a company; with COMMIT, money may move."""
        if request.phase is not Phase.COMMIT:
            return
        body = msgspec.json.decode(request.body)
        reference, verb = body["reference"], request.path.rsplit("/", 1)[-1]
        payment_id = self.attempts.get(reference)
        self.that(payment_id is not None, "an attempt is on record before anyone is called", reference)
        assert payment_id is not None
        payment = self.payments[payment_id].payment
        attempt = payment.attempt(reference)
        assert attempt is not None
        action = VERBS.get(verb, Action.AUTHORIZE)
        asked = (attempt.provider, attempt.operation, request.headers.get("Idempotency-Key"))
        self.that(asked == (provider, action, attempt.id), "a provider is asked for what is on record", asked)
        amount = body.get("amount", attempt.amount)
        self.that(amount == attempt.amount, "a provider is asked for the amount on record", (attempt, amount))
        if node.has_slept_on_the_way():
            self.slept_over.add(attempt.id)
        given_up = attempt.outcome is Outcome.NOT_SENT and attempt.id not in self.slept_over
        self.that(not given_up, "who comes late does not send", (node.name, attempt))
        if action is Action.CAPTURE:
            left = payment.amount_authorized - payment.amount_captured - payment.amount_released
            self.that(attempt.amount <= left or not attempt.is_open, "no more is captured than is held", payment)
        if action is Action.AUTHORIZE:
            company = self._world.instances[provider]
            before = company.books.requested.get(reference)
            self.that(before is None, "an authorisation is never sent twice", reference)
            self.that(not _may_hold(payment, attempt), "no second authorisation while another may hold", payment)

    def hears(self, provider: str, reply: HttpReply) -> None:
        """An answer on its way to a node: whether it is about what was asked for is known here before the node looks."""
        try:
            told = _operation.decode(reply.body)
        except msgspec.DecodeError:
            return
        operation = self._world.instances[provider].books.operations.get(told.id)
        if operation is None:
            return
        shown = (told.reference, told.amount, told.currency)
        booked = (operation.reference, operation.amount, operation.currency)
        # A void lets go of whatever is left: what that was is the company's to say.
        if shown == booked or (operation.kind is Kind.VOID and told.reference == operation.reference):
            self.told.add(operation.reference)
        else:
            self.falsified.add(operation.reference)

    def hears_news(self, body: bytes) -> None:
        """A notification on its way to us. The companies' notifications are true."""
        told = _notice.decode(body).operation
        if told is not None:
            self.told.add(told.reference)


def _may_hold(payment: Payment, attempt: Attempt) -> bool:
    """Whether another authorisation of the payment may hold money, as far as is known."""
    return any(
        other.operation is Action.AUTHORIZE
        and other.id != attempt.id
        and (other.outcome not in (Outcome.DECLINED, Outcome.NOT_SENT))
        and not other.late
        for other in payment.attempts
    )


def _is_moot(attempt: Attempt, operation: Operation | None) -> bool:
    """Whether the goal was reached without it: a void of what nothing holds any more."""
    return attempt.operation is Action.VOID


def _undone(operation: Operation | None, books: Books) -> bool:
    """Whether what it moved was released or came back since."""
    assert operation is not None
    charge = books.charges[operation.charge]
    if operation.kind is Kind.CHARGE:
        return charge.captured == charge.refunded and charge.capturable == 0
    return operation.status is Status.DECLINED


def _bookkeeping_only(before: Payment, after: Payment) -> bool:
    """Whether nothing changed but who looks into what, and when."""
    plain = [
        tuple(replace(one, deadline=None, lookups=0, resends=0, sent_at=0) for one in payment.attempts)
        for payment in (before, after)
    ]
    return plain[0] == plain[1] and replace(before, attempts=()) == replace(after, attempts=())


class _Shown(msgspec.Struct):
    id: str
    reference: str
    amount: int
    currency: str


class _Notice(msgspec.Struct):
    operation: _Shown | None = None


_notice = msgspec.json.Decoder(_Notice)
_operation = msgspec.json.Decoder(_Shown)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
