"""One simulated provider, without sockets: a request in, a reaction out, and what happens by itself as time goes on.

The clock and the ids are given to it, and chance comes from the fault plan's seed: so a test may own all three.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.secrets import Secret
from interlock.simulator import cards
from interlock.simulator.behaviours import Behaviour, Telling, behaviour_of
from interlock.simulator.books import WAITING, Answered, Books, Journal, NewId, Verdict
from interlock.simulator.faults import BEFORE_ACCEPT, FaultDice, FaultKind, FaultPlan, OutageMode
from interlock.simulator.messages import (
    DisputeDocument,
    Manner,
    Notice,
    NoticeDocument,
    Reaction,
    Reply,
    Request,
    encode,
    json_reply,
    refusal,
)
from interlock.simulator.model import (
    Charge,
    ChargeRequest,
    Dispute,
    FollowOnRequest,
    FollowUp,
    Kind,
    Operation,
    OperationDocument,
    Status,
)

AUTHORIZATION_MS: Millis = 7 * DAY
KEY_LENGTH_MAX = 255
RETRY_AFTER = (("retry-after", "1"),)
OUT_OF_ORDER_MS: Millis = 50

_MANNERS = {
    FaultKind.RESET_BEFORE_ACCEPT: Manner.RESET,
    FaultKind.RESET_AFTER_ACCEPT: Manner.RESET,
    FaultKind.TIMEOUT_BEFORE_ACCEPT: Manner.HANG,
    FaultKind.TIMEOUT_AFTER_ACCEPT: Manner.HANG,
    FaultKind.LATE_ACCEPT: Manner.HANG,
    FaultKind.TRUNCATED: Manner.TRUNCATED,
    FaultKind.STALLED: Manner.STALLED,
    FaultKind.HUGE: Manner.HUGE,
    FaultKind.ENDLESS: Manner.ENDLESS,
}
_FOLLOW_ONS = {"capture": Kind.CAPTURE, "void": Kind.VOID, "refunds": Kind.REFUND}
_GARBAGE = Reply(200, b"\x00\xff<html>upstream said: {{", (), "text/html")
_NOTHING = Reply(503, b"")


class _Ask(NamedTuple):
    """A request that moves money, read."""

    kind: Kind
    key: str
    fingerprint: str
    body: ChargeRequest | FollowOnRequest
    charge: str = ""


class SimulatedProvider:
    """`handle` and `advance` do everything; both are immediate. `outbox` holds the notifications to send."""

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], Millis],
        new_id: NewId,
        api_key: Secret | None = None,
        signing_secrets: tuple[Secret, ...] = (),
        plan: FaultPlan | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.name = name
        self.api_key = api_key
        self.signing_secrets = signing_secrets
        self.public_url = f"http://{name}.invalid"
        """Where payers find the 3-D Secure page."""
        self.outbox: list[Notice] = []
        self._now = now
        self._new_id = new_id
        self._journal = journal
        self._due: list[tuple[Millis, int, FollowUp | Notice | _Ask]] = []
        self._order = 0
        self.books = Books(new_id, authorization_ms=AUTHORIZATION_MS, journal=journal)
        self.dice = FaultDice(plan or FaultPlan(), salt=name, set_at=now())

    # Time

    def set_plan(self, plan: FaultPlan) -> None:
        self.dice = FaultDice(plan, salt=self.name, set_at=self._now())

    def load(self, lines: list[bytes]) -> None:
        """Go on with books that were kept."""
        self.books.load(lines)
        for follow_up in self.books.plans:
            self._schedule(follow_up.at, follow_up)
        self.outbox.extend(Notice(self.name, notice_id, body) for notice_id, body in self.books.untold.items())

    def reset(self) -> None:
        """Forget all books and plans, also those that were kept."""
        if self._journal is not None:
            self._journal.clear()
        self.books = Books(self._new_id, authorization_ms=AUTHORIZATION_MS, journal=self._journal)
        self.dice = FaultDice(FaultPlan(), salt=self.name, set_at=self._now())
        self._due.clear()
        self.outbox.clear()

    def next_due(self) -> Millis | None:
        """When `advance` has something to do, or an outage turns."""
        turn = self.dice.next_turn(self._now())
        first = self._due[0][0] if self._due else None
        return min((at for at in (turn, first) if at is not None), default=None)

    def is_refusing(self) -> bool:
        """Whether the instance's port is closed at present."""
        return self.dice.outage(self._now()) is OutageMode.CONNECT_REFUSED

    def advance(self) -> None:
        """Do what is due by now."""
        now = self._now()
        while self._due and self._due[0][0] <= now:
            item = heapq.heappop(self._due)[2]
            if isinstance(item, Notice):
                self.outbox.append(item)
            elif isinstance(item, _Ask):
                if item.key not in self.books.answers:
                    _, first = self._accept(item, self._behaviour(item), None, heard=False)
                    self.outbox.extend(first)
            else:
                self._follow_up(item)

    def _follow_up(self, follow_up: FollowUp) -> None:
        self.books.strike(follow_up)
        if follow_up.what == "approve":
            operation = self.books.operations[follow_up.subject]
            if self.books.settle(operation, Verdict(Status.AUTHORIZED)):
                self.changed(operation)
            return
        charge = self.books.charges[follow_up.subject]
        dispute = self.books.open_dispute(charge)
        if dispute is not None:
            self.disputed(charge, dispute)

    # Requests

    def handle(self, request: Request) -> Reaction:
        """React to a request under /v1."""
        self.advance()
        now = self._now()
        plan = self.dice.plan
        outage = self.dice.outage(now)
        if outage is not None:
            manner = {OutageMode.HANG: Manner.HANG, OutageMode.UNAVAILABLE: Manner.ANSWER}.get(outage, Manner.RESET)
            return Reaction(refusal(503, "unavailable", "the provider is down"), manner, 0.0, plan.hang_s)
        if self.api_key is not None and not self._is_authenticated(request):
            return Reaction(refusal(401, "unauthenticated", "the API key is missing or wrong"))
        words = request.path.split("/")[2:]
        match request.method, words:
            case "POST", ["charges"]:
                return self._money(self._read(request, Kind.CHARGE, ChargeRequest))
            case "POST", ["charges", charge, verb] if verb in _FOLLOW_ONS:
                return self._money(self._read(request, _FOLLOW_ONS[verb], FollowOnRequest, charge))
            case "GET", ["charges"]:
                return Reaction(self._find_charges(request.query), delay_s=self.dice.latency_s())
            case "GET", ["operations", reference]:
                return self._lookup(unquote(reference))
            case "POST", ["tokens", token, "session"]:
                return self._open_session(unquote(token))
        return Reaction(refusal(404, "no_such_path", "there is nothing here"))

    def _is_authenticated(self, request: Request) -> bool:
        assert self.api_key is not None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return self.api_key.matches(given) and scheme.lower() == "bearer"

    def _read(
        self, request: Request, kind: Kind, body: type[ChargeRequest] | type[FollowOnRequest], charge: str = ""
    ) -> _Ask | Reply:
        key = request.headers.get("idempotency-key", "")
        if not 0 < len(key) <= KEY_LENGTH_MAX:
            return refusal(400, "idempotency_key_missing", "a request that moves money needs an Idempotency-Key")
        try:
            read = (_charge_decoder if body is ChargeRequest else _follow_on_decoder).decode(request.body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return refusal(400, "invalid_request", str(error)[:200])
        fingerprint = sha256(request.path.encode() + b"\n" + request.body).hexdigest()
        return _Ask(kind, key, fingerprint, read, charge)

    def _money(self, ask: _Ask | Reply) -> Reaction:
        """A request that may move money: what it meets, what is booked, what is said."""
        if isinstance(ask, Reply):
            return Reaction(ask)
        latency_s = self.dice.latency_s()
        known = self.books.answers.get(ask.key)
        if known is not None and self._now() >= known.at + round(self.dice.plan.key_lifetime_s * 1_000):
            known = None
        if known is not None and known.fingerprint != ask.fingerprint:
            return Reaction(
                refusal(409, "idempotency_key_reused", "this key came with another body"), delay_s=latency_s
            )
        if ask.charge and ask.charge not in self.books.charges:
            return Reaction(refusal(404, "charge_unknown", "there is no such charge"), delay_s=latency_s)
        self.books.count_request(ask.body.reference, ask.kind)
        behaviour = self._behaviour(ask)
        fault = behaviour.fault if known is None else None
        if fault is None:
            fault = self.dice.fault(ask.kind)
        if fault in BEFORE_ACCEPT:
            return self._refuse_to_accept(ask, fault, latency_s)
        first: tuple[Notice, ...] = ()
        if known is not None:
            reply = Reply(known.status, known.body.encode(), (("idempotency-replayed", "true"),))
        else:
            reply, first = self._accept(ask, behaviour, fault)
        return self._delivered(reply, fault, latency_s, first)

    def _behaviour(self, ask: _Ask) -> Behaviour:
        token = ask.body.token if isinstance(ask.body, ChargeRequest) else "tok_approve"
        return behaviour_of(token, self.name)

    def _refuse_to_accept(self, ask: _Ask, fault: FaultKind | None, latency_s: float) -> Reaction:
        plan = self.dice.plan
        if fault is FaultKind.RATE_LIMITED:
            return Reaction(refusal(429, "rate_limited", "too many requests", RETRY_AFTER), delay_s=latency_s)
        if fault is FaultKind.UNAVAILABLE:
            return Reaction(refusal(503, "unavailable", "try later"), delay_s=latency_s)
        if fault is FaultKind.LATE_ACCEPT:
            self._schedule(self._now() + round(plan.late_accept_s * 1_000), ask)
        assert fault is not None
        return Reaction(_NOTHING, _MANNERS[fault], latency_s, plan.hang_s)

    def _accept(
        self, ask: _Ask, behaviour: Behaviour, fault: FaultKind | None, *, heard: bool = True
    ) -> tuple[Reply, tuple[Notice, ...]]:
        """Book it, keep the answer for its key, and plan what follows."""
        with self.books.together():
            return self._booked(ask, behaviour, fault, heard)

    def _booked(
        self, ask: _Ask, behaviour: Behaviour, fault: FaultKind | None, heard: bool
    ) -> tuple[Reply, tuple[Notice, ...]]:
        books, now, plan = self.books, self._now(), self.dice.plan
        pending = fault is FaultKind.PENDING
        if isinstance(ask.body, ChargeRequest):
            verdict = behaviour.verdict
            if pending and verdict.status is Status.AUTHORIZED:
                verdict = Verdict(Status.PENDING)
            card = cards.split(ask.body.token)[1] or cards.USUAL
            if verdict.status is not Status.DECLINED and (code := self.dice.refusal(card)) is not None:
                verdict = Verdict(Status.DECLINED, code)
            operation = books.charge(ask.body, verdict, now, card=card, dispute=behaviour.dispute)
        else:
            charge = books.charges[ask.charge]
            act = {Kind.CAPTURE: books.capture, Kind.VOID: books.void, Kind.REFUND: books.refund}[ask.kind]
            operation = act(charge, ask.body, now, pending=pending)
        status = 402 if operation.status is Status.DECLINED else 201
        body = encode(self.document(operation))
        books.remember(ask.key, Answered(ask.fingerprint, operation.id, now, status, body.decode()))
        if operation.status is Status.PENDING:
            self._plan(plan.pending_s, "approve", operation.id)
        elif behaviour.late and operation.kind is Kind.CHARGE:
            self._plan(plan.late_approval_s, "approve", operation.id)
        return Reply(status, body), self.changed(operation, answered=heard, telling=behaviour.telling)

    def _delivered(
        self, reply: Reply, fault: FaultKind | None, latency_s: float, first: tuple[Notice, ...] = ()
    ) -> Reaction:
        """The reply as it reaches the merchant."""
        if fault is FaultKind.ERROR_THOUGH_CHARGED:
            reply = refusal(500, "internal_error", "something went wrong")
        elif fault is FaultKind.GARBAGE:
            reply = _GARBAGE
        elif fault in (FaultKind.WRONG_AMOUNT, FaultKind.WRONG_CURRENCY, FaultKind.WRONG_REFERENCE):
            reply = _falsified(reply, fault)
        manner = Manner.ANSWER if fault is None else _MANNERS.get(fault, Manner.ANSWER)
        return Reaction(reply, manner, latency_s, self.dice.plan.hang_s, first)

    def _lookup(self, reference: str) -> Reaction:
        operation = self.books.operation(reference)
        if operation is None:
            reply = refusal(404, "operation_unknown", "no operation with that reference was accepted")
        else:
            reply = json_reply(200, self.document(operation))
        fault = self.dice.fault(Kind.LOOKUP)
        latency_s = self.dice.latency_s()
        if fault is FaultKind.RATE_LIMITED:
            return Reaction(refusal(429, "rate_limited", "too many requests", RETRY_AFTER), delay_s=latency_s)
        if fault is FaultKind.UNAVAILABLE:
            return Reaction(refusal(503, "unavailable", "try later"), delay_s=latency_s)
        return self._delivered(reply, fault, latency_s)

    def _find_charges(self, query: str) -> Reply:
        wanted = parse_qs(query)
        found: list[Charge] = []
        if "reference" in wanted:
            operation = self.books.operation(wanted["reference"][0])
            found = [self.books.charges[operation.charge]] if operation is not None else []
        elif "payment_id" in wanted:
            found = self.books.charges_of(payment_id=wanted["payment_id"][0])
        first = [self.document(self.books.operations[charge.operation]) for charge in found]
        return json_reply(200, {"object": "list", "data": first})

    def _open_session(self, token: str) -> Reaction:
        if behaviour_of(token, self.name).fault is FaultKind.RESET_BEFORE_ACCEPT:
            return Reaction(_NOTHING, Manner.RESET)
        return Reaction(json_reply(201, {"object": "session", "id": self._new_id("sse")}))

    # News

    def complete_challenge(self, charge: Charge, *, authenticated: bool) -> bool:
        """The payer did their part, or failed to; False when nothing waited for it."""
        operation = self.books.operations[charge.operation]
        if operation.status is not Status.REQUIRES_ACTION:
            return False
        good, bad = Verdict(Status.AUTHORIZED), Verdict(Status.DECLINED, "authentication_failed")
        self.books.settle(operation, good if authenticated else bad)
        self.changed(operation)
        return True

    def changed(
        self, operation: Operation, *, answered: bool = False, telling: Telling = Telling.ONCE
    ) -> tuple[Notice, ...]:
        """Tell of an operation's new status; the notifications that are to go out before the answer."""
        self._plan_dispute(operation)
        faults = self.dice.plan.notifications
        now = self._now()
        if telling is Telling.BEFORE_ANSWER:
            early = self._notice(operation, now)
            self.books.announce(early.id, early.body)
            return (early,)
        if answered and telling is Telling.ONCE and not faults.of_answers:
            return ()
        notice = self._notice(operation, now)
        self._send(notice)
        if telling is Telling.TWICE:
            self._send(notice)
        elif telling is Telling.OUT_OF_ORDER:
            older = self._notice(operation, now - 1_000, Status.PENDING)
            self._schedule(now + round(faults.delay_ms + faults.jitter_ms) + OUT_OF_ORDER_MS, older)
        return ()

    def disputed(self, charge: Charge, dispute: Dispute) -> None:
        """Tell of a dispute's new status."""
        document = DisputeDocument(
            dispute.id,
            dispute.status.value,
            charge.id,
            dispute.amount,
            charge.currency,
            dispute.reason,
            charge.metadata,
        )
        notice_id = self._new_id("snt")
        kind = f"dispute.{dispute.status}"
        told = NoticeDocument("notification", notice_id, kind, self._now(), self.name, dispute=document)
        self._send(Notice(self.name, notice_id, encode(told)))

    def document(self, operation: Operation, status: Status | None = None) -> OperationDocument:
        charge = self.books.charges[operation.charge]
        shown = status or operation.status
        waits = shown is Status.REQUIRES_ACTION
        return OperationDocument(
            object="operation",
            id=operation.id,
            kind=operation.kind,
            status=shown,
            reference=operation.reference,
            charge=operation.charge,
            amount=operation.amount,
            currency=operation.currency,
            created_at=operation.created_at,
            decline_code=operation.decline_code,
            action_url=f"{self.public_url}/3ds/{operation.charge}" if waits else None,
            expires_at=charge.expires_at if shown is Status.AUTHORIZED else None,
            card=charge.card if operation.kind is Kind.CHARGE else None,
            metadata=charge.metadata,
        )

    def _notice(self, operation: Operation, at: Millis, status: Status | None = None) -> Notice:
        notice_id = self._new_id("snt")
        document = self.document(operation, status)
        told = NoticeDocument("notification", notice_id, "operation.updated", at, self.name, operation=document)
        return Notice(self.name, notice_id, encode(told))

    def _send(self, notice: Notice) -> None:
        faults, dice = self.dice.plan.notifications, self.dice
        if dice.happens(faults.drop_rate):
            return
        self.books.announce(notice.id, notice.body)
        for _ in range(2 if dice.happens(faults.duplicate_rate) else 1):
            wait_ms = faults.delay_ms + (dice.random.random() * faults.jitter_ms if faults.jitter_ms else 0.0)
            if wait_ms:
                self._schedule(self._now() + round(wait_ms), notice)
            else:
                self.outbox.append(notice)

    def _plan_dispute(self, operation: Operation) -> None:
        charge = self.books.charges[operation.charge]
        if charge.dispute_when_captured and charge.captured and operation.status not in WAITING:
            charge.dispute_when_captured = False
            self._plan(self.dice.plan.dispute_s, "dispute", charge.id)
            self.books.keep_charge(charge)

    def _plan(self, after_s: float, what: str, subject: str) -> None:
        at = self._now() + round(after_s * 1_000)
        follow_up = FollowUp(at, "approve" if what == "approve" else "dispute", subject)
        self.books.plan(follow_up)
        self._schedule(at, follow_up)

    def _schedule(self, at: Millis, item: FollowUp | Notice | _Ask) -> None:
        self._order += 1
        heapq.heappush(self._due, (at, self._order, item))


def _falsified(reply: Reply, fault: FaultKind) -> Reply:
    document = msgspec.json.decode(reply.body)
    if "object" not in document:
        return reply
    if fault is FaultKind.WRONG_AMOUNT:
        document["amount"] += 1
    elif fault is FaultKind.WRONG_CURRENCY:
        document["currency"] = "USD" if document["currency"] != "USD" else "EUR"
    else:
        document["reference"] = "att_00000000000000000000000000"
    return json_reply(reply.status, document, reply.headers)


_charge_decoder = msgspec.json.Decoder(ChargeRequest)
_follow_on_decoder = msgspec.json.Decoder(FollowOnRequest)
