"""The proof that ends a demo: what is stored, what merchants were told, and the provider's own books, held against each other.

Everything is counted in rows: payments, events and journals as they stand on disk, requests and charges as they stand in
the simulator's books. What the API said is only what has to be found again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from interlock.bootstrap import QUEUES, Platform
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.ledger.handlers import read_balances
from interlock.core.ledger.verification import records_of, verify
from interlock.core.payments.model import Attempt, Payment, decode_payment
from interlock.core.payments.projection import PAYMENTS
from interlock.core.payments.records import payment_key
from interlock.core.payments.states import STATUS, DisputeState
from interlock.core.payments.verification import payment_check
from interlock.core.webhooks.events import DELIVERABLE
from interlock.core.webhooks.views import event_body
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Told
from interlock.entrypoints.local import TENANT

WRONG_SHOWN_MAX = 20
LOOK_AT_ONCE = 500


class Check(NamedTuple):
    """One thing that must hold."""

    what: str
    counted: str
    """What it was held against, in numbers."""
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.wrong


class Stored(NamedTuple):
    """Every payment on disk with its events, and those of this run by reference."""

    payments: Mapping[str, Payment]
    events: Mapping[str, Sequence[Event]]
    ours: Mapping[str, Payment]


class ChargeRow(msgspec.Struct):
    """A line of the simulator's books: one payer's money."""

    charge: str
    attempt_id: str
    payment_id: str | None
    currency: str
    amount: int
    authorized: int
    captured: int
    released: int
    refunded: int
    disputed: int

    @property
    def held(self) -> int:
        """What the provider still has of the payer's money."""
        return self.authorized - self.released - self.refunded


class OperationRow(msgspec.Struct):
    """A line of the simulator's books: one request that could move money, by our attempt id."""

    instance: str
    attempt_id: str
    kind: str
    amount: int | None
    currency: str | None
    state: str
    charge: str | None
    payment_id: str | None
    times_requested: int
    times_effected: int
    decline_code: str | None = None


class Sums(msgspec.Struct):
    """The simulator's totals of one currency."""

    authorized: int = 0
    captured: int = 0
    released: int = 0
    refunded: int = 0
    disputed: int = 0
    """In disputes not decided yet."""
    lost: int = 0


class InstanceBooks(msgspec.Struct):
    totals: dict[str, Sums]
    charges: list[ChargeRow]


class Books(msgspec.Struct):
    """The answer of GET /books."""

    operations: list[OperationRow]
    instances: dict[str, InstanceBooks]


async def read_stored(platform: Platform, *, run: str) -> Stored:
    """All payments on disk; `run` begins the references of those this demo made."""
    events: dict[str, list[Event]] = defaultdict(list)
    async for record in records_of(platform.storage.feed):
        if record.event.aggregate.startswith("pay_"):
            events[record.event.aggregate].append(record.event)
    payments = {}
    for payment_id, history in events.items():
        item = await platform.storage.store.get(payment_key(history[0].tenant, payment_id))
        if item is not None:
            payments[payment_id] = decode_payment(item.value)
    ours = {one.id: one for one in payments.values() if (one.reference or "").startswith(f"{run}-")}
    return Stored(payments, events, ours)


async def prove(
    platform: Platform, stored: Stored, books: Books, *, told: Told, hook: Hook, unsettled: Sequence[str]
) -> list[Check]:
    """Every check. None of them stops another."""
    return [
        await _everything_settled(platform, stored, unsettled),
        await _ledger_sound(platform),
        _books_equal_per_payment(stored, books),
        await _books_equal_in_total(platform, stored, books),
        _operations_effected_once(stored, books),
        _nothing_lost(stored, told),
        await _lists_complete(platform, stored),
        _nothing_doubled(stored, books, told),
        _webhooks_delivered(stored, hook),
        Check(
            "no answer outside the contract", f"{told.requests} requests in {told.tries} tries", tuple(told.surprises)
        ),
    ]


async def _everything_settled(platform: Platform, stored: Stored, unsettled: Sequence[str]) -> Check:
    wrong = list(unsettled)
    for payment in stored.payments.values():
        if STATUS[payment.state] == "processing":
            wrong.append(f"{payment.id} is {payment.state}")
        wrong += [f"{payment.id}: {one.id} is {one.outcome}" for one in payment.attempts if one.outcome in _OPEN]
    for spec in QUEUES:
        depth = await platform.storage.queue.depth(spec.name)
        waiting = depth.ready + depth.delayed + depth.leased
        if waiting or depth.dead:
            wrong.append(f"queue {spec.name}: {waiting} waiting, {depth.dead} dead")
    return Check("everything settled", f"{len(stored.payments)} payments", tuple(wrong))


_OPEN = (None, Outcome.UNKNOWN, Outcome.PENDING)


async def _ledger_sound(platform: Platform) -> Check:
    storage = platform.storage
    report = await verify(storage.store, storage.feed, check_payment=payment_check(storage.store))
    wrong = [f"{one.code} {one.subject}: {one.detail}" for one in report.findings]
    if report.behind:
        wrong.append(f"{report.behind} journals are not in the balances")
    counted = f"{report.journals} journals, {report.events} events, {report.payments} payments"
    return Check("ledger verified", counted, tuple(wrong))


def _books_equal_per_payment(stored: Stored, books: Books) -> Check:
    """Each payment against the one charge it lives on."""
    charges = {row.attempt_id: row for instance in books.instances.values() for row in instance.charges}
    wrong = []
    compared = 0
    for payment in stored.payments.values():
        living = [one for one in payment.attempts if _holds_payment(one)]
        charge = charges.get(living[0].id) if living else None
        if charge is None:
            if payment.amount_authorized or payment.amount_captured:
                wrong.append(
                    f"{payment.id} says {payment.amount_authorized} authorised; the books have no charge for it"
                )
            continue
        compared += 1
        for name, says, booked in (
            ("authorised", payment.amount_authorized, charge.authorized),
            ("captured", payment.amount_captured, charge.captured),
            ("still capturable", payment.capturable, charge.authorized - charge.captured - charge.released),
            ("refunded", payment.amount_refunded, charge.refunded),
            ("disputed", payment.amount_disputed + _excess(payment), charge.disputed),
        ):
            if says != booked:
                wrong.append(f"{payment.id} says {says} {name}, the books {booked} ({charge.charge})")
        if charge.currency != payment.currency:
            wrong.append(f"{payment.id} is in {payment.currency}, the books say {charge.currency}")
    return Check("simulator's books equal, payment by payment", f"{compared} charges", tuple(wrong))


def _holds_payment(attempt: Attempt) -> bool:
    """Whether the payment lives on the charge this attempt made."""
    return attempt.operation is Action.AUTHORIZE and attempt.outcome is Outcome.APPROVED and not attempt.late


def _excess(payment: Payment) -> int:
    return sum(one.excess for one in payment.disputes if one.state is not DisputeState.WON)


async def _books_equal_in_total(platform: Platform, stored: Stored, books: Books) -> Check:
    """Per instance and currency: the books against the ledger's balances, and against the sum of the payments."""
    view = await read_balances(platform.storage.store, TENANT, now=platform.storage.clock.now())
    ledger = {(one.code, one.currency): one.balance for one in view.data}
    payments: Counter[tuple[str, str]] = Counter()
    for payment in stored.payments.values():
        if payment.provider is not None:
            lost = sum(one.amount + one.excess for one in payment.disputes if one.state is DisputeState.LOST)
            payments[payment.provider, payment.currency] += payment.amount_captured - payment.amount_refunded - lost
    wrong = []
    compared = 0
    held: Counter[str] = Counter()
    for name, instance in books.instances.items():
        for currency, sums in instance.totals.items():
            compared += 1
            held[currency] += sums.disputed
            booked = sums.captured - sums.refunded - sums.lost
            for where, says in (
                ("the ledger", ledger.pop((f"provider_receivable:{name}", currency), 0)),
                ("the payments", payments.pop((name, currency), 0)),
            ):
                if says != booked:
                    wrong.append(f"{name} has {booked} {currency} of ours, {where} says {says}")
    for currency, booked in held.items():
        if (says := ledger.pop(("disputes_held", currency), 0)) != booked:
            wrong.append(f"{booked} {currency} are disputed in the books, the ledger holds {says}")
    wrong += [
        f"{name} has no {currency} of ours, the payments say {says}"
        for (name, currency), says in payments.items()
        if says
    ]
    excess: Counter[str] = Counter()
    for payment in stored.payments.values():
        excess[payment.currency] += _excess(payment)
    for (code, currency), says in ledger.items():
        # Suspense keeps what was disputed beyond the merchant's money, and nothing else once all has settled.
        due = {"refunds_reserved": 0, "suspense": -excess[currency]}.get(code, says)
        if says != due:
            wrong.append(f"{code} is {says} {currency}, and should be {due} once all has settled")
    return Check("simulator's books equal, in total", f"{compared} totals of an instance and currency", tuple(wrong))


def _operations_effected_once(stored: Stored, books: Books) -> Check:
    """Every line of the books belongs to an attempt that says the same, and none took effect twice."""
    rows = {row.attempt_id: row for row in books.operations}
    attempts = {one.id: (payment, one) for payment in stored.payments.values() for one in payment.attempts}
    wrong = [
        f"{row.attempt_id} took effect {row.times_effected} times" for row in rows.values() if row.times_effected > 1
    ]
    for row in rows.values():
        if row.attempt_id not in attempts:
            if row.times_effected:
                wrong.append(f"{row.attempt_id} moved {row.amount} {row.currency} and is no attempt of ours")
            continue
        payment, attempt = attempts[row.attempt_id]
        wrong += [f"{payment.id}, {attempt.id}: {problem}" for problem in _differences(payment, attempt, row)]
    for payment, attempt in attempts.values():
        if attempt.outcome is Outcome.APPROVED and attempt.provider in books.instances and attempt.id not in rows:
            wrong.append(f"{payment.id}, {attempt.id}: approved, and the provider has never heard of it")
    requested = sum(row.times_requested for row in rows.values())
    return Check("every operation effected at most once", f"{len(rows)} operations, {requested} requests", tuple(wrong))


def _differences(payment: Payment, attempt: Attempt, row: OperationRow) -> Iterator[str]:
    moved = row.state not in ("declined", "not_accepted", "requires_action", "pending")
    if moved != (attempt.outcome is Outcome.APPROVED):
        yield f"{attempt.outcome} here, {row.state} in the books ({row.times_effected} effects)"
    if row.payment_id not in (None, payment.id):
        yield f"belongs to {row.payment_id} in the books"
    if row.instance != attempt.provider:
        yield f"at {attempt.provider} here, in the books of {row.instance}"
    if (
        moved
        and attempt.operation is not Action.VOID
        and (row.amount, row.currency) != (attempt.amount, payment.currency)
    ):
        yield f"{attempt.amount} {payment.currency} here, {row.amount} {row.currency} in the books"


def _nothing_lost(stored: Stored, told: Told) -> Check:
    """Every acknowledged answer is, byte for byte, what an event of a stored payment says."""
    snapshots: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for payment_id, history in stored.events.items():
        for event in history:
            for member, snapshot in _members.decode(event.data).items():
                snapshots[payment_id, member].add(bytes(snapshot))
    wrong = list(told.contradictions)
    for key, answer in told.acknowledged.items():
        content = answer.content
        member = content["object"]
        payment_id = content["id"] if member == "payment" else content["payment"]
        payment = stored.payments.get(payment_id)
        if payment is None:
            wrong.append(f"{key} was answered with {payment_id}, which is not stored")
        elif answer.body not in snapshots[payment_id, member]:
            wrong.append(f"{key} was answered with a {member} that no event of {payment_id} says")
        else:
            wrong += [f"{payment_id}, {key}: {problem}" for problem in _took_back(payment, member, content)]
    return Check("nothing lost", f"{len(told.acknowledged)} acknowledged answers", tuple(wrong))


def _took_back(payment: Payment, member: str, content: Mapping[str, Any]) -> Iterator[str]:
    """What was acknowledged and is not there any more."""
    if member == "refund":
        refund = payment.refund(content["id"])
        if refund is None or refund.amount != content["amount"]:
            yield f"refund {content['id']} of {content['amount']} is not stored"
        return
    if (payment.amount, payment.currency, payment.reference) != tuple(
        content[name] for name in ("amount", "currency", "reference")
    ):
        yield "another amount, currency or reference is stored"
    known = {(one.id, one.amount) for one in payment.captures}
    if any((one["id"], one["amount"]) not in known for one in content["captures"]):
        yield "a capture is not stored"
    if payment.version < content["version"]:
        yield f"version {content['version']} was acknowledged, {payment.version} is stored"


async def _lists_complete(platform: Platform, stored: Stored) -> Check:
    """The read model that GET /v1/payments shows has every payment, as it last was."""
    listed: dict[str, int] = {}
    after: str | None = None
    while page := await platform.storage.documents.find(PAYMENTS.name, tenant=TENANT, after=after, limit=LOOK_AT_ONCE):
        listed |= {document.id: document.version for document in page}
        after = page[-1].id
    wrong = [
        f"{one.id} is version {one.version}, listed as {listed.get(one.id, 'nothing')}"
        for one in stored.payments.values()
        if one.tenant == TENANT and listed.get(one.id) != one.version
    ]
    wrong += [f"{payment_id} is listed and not stored" for payment_id in listed.keys() - stored.payments.keys()]
    return Check("lists complete", f"{len(listed)} payments listed", tuple(wrong))


def _nothing_doubled(stored: Stored, books: Books, told: Told) -> Check:
    """One payment for each key, and at most one charge for each payment that was not given back."""
    per_reference = Counter(one.reference for one in stored.ours.values())
    wrong = [f"{count} payments for {reference}" for reference, count in per_reference.items() if count > 1]
    charges = [row for instance in books.instances.values() for row in instance.charges]
    kept = Counter(row.payment_id for row in charges if row.held > 0)
    wrong += [f"{payment_id} has {count} charges that hold money" for payment_id, count in kept.items() if count > 1]
    wrong += [
        f"charge {row.charge} holds {row.held} {row.currency} and belongs to no payment of ours"
        for row in charges
        if row.held and row.payment_id not in stored.payments
    ]
    for payment in stored.payments.values():
        approved = sum(1 for one in payment.attempts if _holds_payment(one))
        if approved > 1:
            wrong.append(f"{payment.id} has {approved} approved authorisations")
    wrong += _late_and_kept(stored.payments.values(), charges)
    given_back = sum(1 for row in charges if row.authorized and not row.held)
    counted = f"{len(charges)} charges, {given_back} given back, {told.replays} answers replayed"
    return Check("nothing doubled", counted, tuple(wrong))


def _late_and_kept(payments: Iterable[Payment], charges: Sequence[ChargeRow]) -> Iterator[str]:
    """Late approvals that were not given back."""
    late = {one.id: payment.id for payment in payments for one in payment.attempts if one.late}
    for row in charges:
        if row.attempt_id in late and row.held:
            yield f"{late[row.attempt_id]}: the late charge {row.charge} still holds {row.held} {row.currency}"


def _webhooks_delivered(stored: Stored, hook: Hook) -> Check:
    """Each event of our payments came, in order, signed, and with the very body the event has."""
    wrong = [f"message {one} was not signed by us" for one in hook.forged]
    expected = 0
    for payment_id in stored.ours:
        events = [event for event in stored.events[payment_id] if event.type in DELIVERABLE]
        arrivals = hook.arrivals.get(payment_id, [])
        expected += len(events)
        came = {arrival.event: arrival.digest for arrival in arrivals}
        for event in events:
            if event.id not in came:
                wrong.append(f"{payment_id}: {event.type} ({event.id}, version {event.version}) never came")
            elif came[event.id] != sha256(event_body(event)).digest():
                wrong.append(f"{payment_id}: {event.id} came with another body")
        versions = [arrival.version for arrival in arrivals]
        if versions != sorted(versions):
            wrong.append(f"{payment_id}: its events came in the order {versions}")
    counted = f"{expected} events, {hook.accepted} deliveries taken, {hook.refused} refused first"
    return Check("every event delivered, in order", counted, tuple(wrong))


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
