"""The simulated provider's books: what money was reserved, taken and given back, and for which request.

They protect as much as a real provider does and no more: the same idempotency key gives the same answer, and an amount never
exceeds what the charge holds. All else is counted, so that a merchant's error shows (`effects` above one).
Nothing is awaited here: each change happens at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.simulator.cards import USUAL, Card
from interlock.simulator.model import (
    Charge,
    ChargeRequest,
    Dispute,
    DisputeStatus,
    FollowOnRequest,
    FollowUp,
    Kind,
    Operation,
    Status,
)

NewId = Callable[[str], str]
WAITING = (Status.PENDING, Status.REQUIRES_ACTION)


class Journal(Protocol):
    """Where lines are kept."""

    def append(self, line: bytes) -> None:
        """Keep a line, or several joined by line feeds, in one piece."""

    def clear(self) -> None:
        """Forget all lines."""


class Verdict(NamedTuple):
    """What the payer's bank says to a charge."""

    status: Status
    """AUTHORIZED, PENDING, REQUIRES_ACTION or DECLINED."""
    decline_code: str | None = None


class Answered(msgspec.Struct, frozen=True):
    """The answer kept for an idempotency key."""

    fingerprint: str
    operation: str
    at: Millis
    status: int
    body: str


class Line(msgspec.Struct, omit_defaults=True):
    """One line of the books' file: things as a change left them. The last word on each counts."""

    operation: Operation | None = None
    charge: Charge | None = None
    key: str | None = None
    answered: Answered | None = None
    planned: FollowUp | None = None
    done: FollowUp | None = None
    """A plan that was carried out, or came to nothing."""
    notice: str | None = None
    """The body of a notification to send."""
    notice_id: str | None = None
    told: str | None = None
    """Id of a notification that was taken."""


class Books:
    """One instance's books. `journal` receives every line as it is written."""

    def __init__(self, new_id: NewId, *, authorization_ms: Millis, journal: Journal | None = None) -> None:
        self.authorization_ms = authorization_ms
        self._new_id = new_id
        self._journal = journal
        self.operations: dict[str, Operation] = {}
        self.charges: dict[str, Charge] = {}
        self.requested: dict[str, tuple[str, Kind, int]] = {}
        """Reference -> (reference, kind of the first request, how many came), also of those that were never carried out."""
        self.answers: dict[str, Answered] = {}
        self.plans: set[FollowUp] = set()
        self.untold: dict[str, bytes] = {}
        """Notifications that nobody took yet: body by id."""
        self._by_reference: dict[str, str] = {}
        self._together: list[bytes] | None = None

    # Looking

    def operation(self, reference: str) -> Operation | None:
        """What became of the request with that reference; None if it was never accepted."""
        found = self._by_reference.get(reference)
        return None if found is None else self.operations[found]

    def charges_of(self, *, payment_id: str) -> list[Charge]:
        return [charge for charge in self.charges.values() if charge.metadata.get("payment_id") == payment_id]

    # Counting and remembering

    def count_request(self, reference: str, kind: Kind) -> None:
        known = self.requested.get(reference)
        self.requested[reference] = (reference, kind, 1) if known is None else (reference, known[1], known[2] + 1)

    def remember(self, key: str, answered: Answered) -> None:
        self.answers[key] = answered
        self._write(Line(key=key, answered=answered))

    def plan(self, follow_up: FollowUp) -> None:
        self.plans.add(follow_up)
        self._write(Line(planned=follow_up))

    def strike(self, follow_up: FollowUp) -> None:
        """The plan is carried out, or void."""
        self.plans.discard(follow_up)
        self._write(Line(done=follow_up))

    def announce(self, notice_id: str, body: bytes) -> None:
        """A notification is to be sent, if need be after a restart."""
        if notice_id not in self.untold:
            self.untold[notice_id] = body
            self._write(Line(notice=body.decode(), notice_id=notice_id))

    def told(self, notice_id: str) -> None:
        """The notification was taken. Safe to repeat."""
        if self.untold.pop(notice_id, None) is not None:
            self._write(Line(told=notice_id))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep all lines written within in one piece, so that a crash leaves all or none."""
        self._together = []
        try:
            yield
        finally:
            lines, self._together = self._together, None
            if lines and self._journal is not None:
                self._journal.append(b"\n".join(lines))

    def keep_charge(self, charge: Charge) -> None:
        self._write(Line(charge=charge))

    # Money

    def charge(
        self, ask: ChargeRequest, verdict: Verdict, now: Millis, *, card: Card = USUAL, dispute: bool = False
    ) -> Operation:
        charge = Charge(
            id=self._new_id("sch"),
            operation=self._new_id("sop"),
            amount=ask.amount,
            currency=ask.currency,
            capture=ask.capture,
            created_at=now,
            expires_at=now + self.authorization_ms,
            dispute_when_captured=dispute,
            return_url=ask.return_url,
            card=card,
            metadata=ask.metadata,
        )
        operation = Operation(
            id=charge.operation,
            kind=Kind.CHARGE,
            reference=ask.reference,
            charge=charge.id,
            amount=ask.amount,
            currency=ask.currency,
            status=verdict.status,
            created_at=now,
            decline_code=verdict.decline_code,
            effects=self._effects_before(ask.reference),
        )
        self.charges[charge.id] = charge
        if verdict.status is Status.AUTHORIZED:
            self._reserve(charge, operation)
        return self._keep(operation, charge)

    def settle(self, operation: Operation, verdict: Verdict) -> bool:
        """The bank's last word on a charge that waited, or was declined; False when it comes too late to matter."""
        charge = self.charges[operation.charge]
        if operation.kind is not Kind.CHARGE:
            if operation.status is not Status.PENDING:
                return False
            operation.status = Status.SUCCEEDED
        elif charge.authorized or operation.decline_code == "canceled":
            return False
        elif verdict.status is Status.AUTHORIZED:
            operation.decline_code = None
            self._reserve(charge, operation)
        else:
            operation.status, operation.decline_code = verdict.status, verdict.decline_code
        self._keep(operation, charge)
        return True

    def capture(self, charge: Charge, ask: FollowOnRequest, now: Millis, *, pending: bool = False) -> Operation:
        amount = charge.capturable if ask.amount is None else ask.amount
        decline = _mismatch(charge, ask) or _not_capturable(charge, now)
        if decline is None and not 0 < amount <= charge.capturable:
            decline = "amount_too_large"
        operation = self._follow_on(Kind.CAPTURE, charge, ask.reference, amount, now, decline, pending)
        if decline is None:
            charge.captured += amount
            if ask.final:
                charge.released += charge.capturable
        return self._keep(operation, charge)

    def void(self, charge: Charge, ask: FollowOnRequest, now: Millis, *, pending: bool = False) -> Operation:
        """Release what is left, or end the wait for the payer or the bank."""
        first = self.operations[charge.operation]
        decline = None
        if first.status in WAITING:
            first.status, first.decline_code = Status.DECLINED, "canceled"
            self._keep(first, charge)
        else:
            decline = _not_capturable(charge, now)
        operation = self._follow_on(Kind.VOID, charge, ask.reference, charge.capturable, now, decline, pending)
        if decline is None:
            charge.released += charge.capturable
        return self._keep(operation, charge)

    def refund(self, charge: Charge, ask: FollowOnRequest, now: Millis, *, pending: bool = False) -> Operation:
        amount = charge.refundable if ask.amount is None else ask.amount
        decline = _mismatch(charge, ask)
        if decline is None and not 0 < amount <= charge.refundable:
            decline = "refund_exceeds_captured"
        operation = self._follow_on(Kind.REFUND, charge, ask.reference, amount, now, decline, pending)
        if decline is None:
            charge.refunded += amount
        return self._keep(operation, charge)

    def return_refund(self, operation: Operation) -> bool:
        """The payer's bank sends a refund back; False if there is none to send."""
        charge = self.charges[operation.charge]
        if operation.kind is not Kind.REFUND or operation.status is Status.DECLINED:
            return False
        operation.status, operation.decline_code = Status.DECLINED, "returned_by_bank"
        charge.refunded -= operation.amount
        self._keep(operation, charge)
        return True

    def open_dispute(self, charge: Charge, amount: int | None = None, reason: str = "general") -> Dispute | None:
        """The payer contests up to what could still be refunded; None when nothing could."""
        contested = charge.refundable if amount is None else amount
        if not 0 < contested <= charge.refundable:
            return None
        dispute = Dispute(self._new_id("sds"), contested, DisputeStatus.OPENED, reason)
        charge.disputes.append(dispute)
        self.keep_charge(charge)
        return dispute

    def decide_dispute(self, charge: Charge, dispute: Dispute, status: DisputeStatus) -> bool:
        """False, and nothing changed, when it was decided before."""
        if dispute.status is not DisputeStatus.OPENED or status is DisputeStatus.OPENED:
            return False
        dispute.status = status
        self.keep_charge(charge)
        return True

    # Keeping

    def load(self, lines: Iterable[bytes]) -> None:
        """Take in lines that were written before. Raises DecodeError for one that is no line of books."""
        for line in lines:
            self._fold(_decoder.decode(line))

    def _fold(self, line: Line) -> None:
        if line.charge is not None:
            self.charges[line.charge.id] = line.charge
        if line.operation is not None:
            operation = line.operation
            if operation.id not in self.operations:
                self.count_request(operation.reference, operation.kind)
            self.operations[operation.id] = operation
            self._by_reference[operation.reference] = operation.id
        if line.key is not None and line.answered is not None:
            self.answers[line.key] = line.answered
        if line.planned is not None:
            self.plans.add(line.planned)
        if line.done is not None:
            self.plans.discard(line.done)
        if line.notice is not None and line.notice_id is not None:
            self.untold[line.notice_id] = line.notice.encode()
        if line.told is not None:
            self.untold.pop(line.told, None)

    def _reserve(self, charge: Charge, operation: Operation) -> None:
        charge.authorized = charge.amount
        operation.effects += 1
        operation.status = Status.AUTHORIZED
        if charge.capture:
            charge.captured = charge.amount
            operation.status = Status.CAPTURED

    def _follow_on(
        self, kind: Kind, charge: Charge, reference: str, amount: int, now: Millis, decline: str | None, pending: bool
    ) -> Operation:
        status = Status.PENDING if pending else Status.SUCCEEDED
        return Operation(
            id=self._new_id("sop"),
            kind=kind,
            reference=reference,
            charge=charge.id,
            amount=amount,
            currency=charge.currency,
            status=status if decline is None else Status.DECLINED,
            created_at=now,
            decline_code=decline,
            effects=self._effects_before(reference) + (decline is None),
        )

    def _effects_before(self, reference: str) -> int:
        """A reference that comes again under a fresh key is worked on again: what it moved before stays counted."""
        known = self.operation(reference)
        return known.effects if known is not None else 0

    def _keep(self, operation: Operation, charge: Charge) -> Operation:
        self.operations[operation.id] = operation
        self._by_reference[operation.reference] = operation.id
        self._write(Line(operation=operation, charge=charge))
        return operation

    def _write(self, line: Line) -> None:
        if self._journal is None:
            return
        encoded = _encoder.encode(line)
        if self._together is None:
            self._journal.append(encoded)
        else:
            self._together.append(encoded)


def _not_capturable(charge: Charge, now: Millis) -> str | None:
    if charge.capturable <= 0:
        return "nothing_left_to_capture" if charge.authorized else "not_authorized"
    return "authorization_expired" if now >= charge.expires_at else None


def _mismatch(charge: Charge, ask: FollowOnRequest) -> str | None:
    return "currency_mismatch" if ask.currency not in (None, charge.currency) else None


def totals(charges: Iterable[Charge]) -> dict[str, dict[str, int]]:
    """Sums per currency."""
    sums: dict[str, dict[str, int]] = {}
    for charge in charges:
        row = sums.setdefault(
            charge.currency, {"authorized": 0, "captured": 0, "released": 0, "refunded": 0, "disputed": 0, "lost": 0}
        )
        row["authorized"] += charge.authorized
        row["captured"] += charge.captured
        row["released"] += charge.released
        row["refunded"] += charge.refunded
        for dispute in charge.disputes:
            row["disputed"] += dispute.amount if dispute.status is DisputeStatus.OPENED else 0
            row["lost"] += dispute.amount if dispute.status is DisputeStatus.LOST else 0
    return sums


def rows(books: Books, *, attempt_id: str | None = None, payment_id: str | None = None) -> list[dict[str, Any]]:
    """Every request that could move money, by the merchant's reference, in order of arrival."""
    found = []
    for reference, kind, count in books.requested.values():
        operation = books.operation(reference)
        charge = books.charges.get(operation.charge) if operation is not None else None
        metadata = charge.metadata if charge is not None else {}
        if attempt_id not in (None, reference) or (payment_id is not None and metadata.get("payment_id") != payment_id):
            continue
        found.append(
            {
                "attempt_id": reference,
                "kind": kind.value,
                "amount": operation.amount if operation else None,
                "currency": operation.currency if operation else None,
                "state": operation.status.value if operation else "not_accepted",
                "decline_code": operation.decline_code if operation else None,
                "charge": operation.charge if operation else None,
                "payment_id": metadata.get("payment_id"),
                "tenant": metadata.get("tenant"),
                "times_requested": count,
                "times_effected": operation.effects if operation else 0,
            }
        )
    return found


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)
