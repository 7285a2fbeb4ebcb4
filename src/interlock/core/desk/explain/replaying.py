"""A bundle told again to the platform's own handlers, over a store of its own, at the times of the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from interlock.core.desk.explain.bundle import Answer, Bundle, Ends, Step, ends_of
from interlock.core.kernel import ids
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    CallReport,
    Capabilities,
    DisputeNews,
    Operation,
    Outcome,
    Result,
)
from interlock.core.payments.calls import record_result
from interlock.core.payments.commands import (
    CancelPayment,
    CapturePayment,
    CardToken,
    ConfirmPayment,
    CreatePayment,
    RefundPayment,
    RoutingWish,
)
from interlock.core.payments.commits import Cause, commit
from interlock.core.payments.disputes import apply_dispute
from interlock.core.payments.handlers import (
    cancel_payment,
    capture_payment,
    confirm_payment,
    create_payment,
    load_payment,
    refund_payment,
)
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import payment_key
from interlock.core.payments.sweeping import sweep_payment

MERCHANT = "ten_reproduction"
CAPABLE = Capabilities(frozenset(Action), frozenset({"card"}), None, multiple_captures=True)
TOKEN = "tok_reproduction"
_HEARD = ("lookup", "notification")


class Interrupted(InterlockError):
    """The original ended here between two commits; so does the replay."""

    code = "interrupted"


class ReplayIds:
    """The ids of the original, in their order; fresh ones for what it does not name."""

    def __init__(self, bundle: Bundle, fresh: Callable[[str], str]) -> None:
        self._left = {prefix: list(names) for prefix, names in bundle.ids.items()}
        self._fresh = fresh

    def new(self, prefix: str) -> str:
        left = self._left.get(prefix)
        return left.pop(0) if left else self._fresh(prefix)


class ReplayGateway:
    """Providers that say what they said."""

    def __init__(self, bundle: Bundle, set_time: Callable[[Millis], None]) -> None:
        self._bundle = bundle
        self._set_time = set_time
        self.done = 0
        """So many steps are told already."""
        self.saying: Answer | None = None
        """What a lookup hears now."""

    def names(self) -> Sequence[str]:
        known = [one.provider for one in self._bundle.attempts if one.operation is Action.AUTHORIZE]
        return list(dict.fromkeys(known)) or ["none"]

    def capabilities(self, provider: str) -> Capabilities:
        return CAPABLE

    def is_available(self, provider: str) -> bool:
        return True

    async def call(self, provider_name: str, op: Operation, *, resend: bool = False) -> CallReport:
        if op.action is Action.LOOKUP:
            return CallReport(self._looked_up(op))
        for step in self._bundle.steps[self.done :]:
            if step.attempt == op.attempt_id and step.answer is not None:
                if step.cause in _HEARD:
                    break
                self._set_time(step.at)
                return CallReport(self.result(step.answer))
        raise Interrupted("no answer is on record")

    def _looked_up(self, op: Operation) -> Result:
        if self.saying is not None and self.saying.attempt == op.attempt_id:
            return self.result(self.saying)
        # Nothing new: what was known of it before this step.
        for step in reversed(self._bundle.steps[: self.done]):
            if step.answer is not None and step.answer.attempt == op.attempt_id:
                return self.result(step.answer)
        return Result(Outcome.UNKNOWN)

    def result(self, answer: Answer) -> Result:
        made = next(one for one in self._bundle.attempts if one.id == answer.attempt)
        good = answer.outcome is Outcome.APPROVED
        return Result(
            answer.outcome,
            provider_reference=made.reference,
            amount=Money(made.amount, self._bundle.currency) if good else None,
            captured=answer.captured,
            decline=answer.decline,
            next_action={"type": "redirect", "url": "https://issuer.example/"}
            if answer.outcome is Outcome.REQUIRES_ACTION
            else None,
            card=self._bundle.card,
            detail=answer.detail or None,
        )


async def replay(bundle: Bundle, p: Payments, gateway: ReplayGateway, set_time: Callable[[Millis], None]) -> Ends:
    """Tell every step; where the payment then stands. `p` is over `gateway`, an empty store, ReplayIds and a settable clock."""
    teller = _Teller(bundle, p, gateway)
    for number, step in enumerate(bundle.steps):
        gateway.done = number
        if await teller.commits() > number:
            continue  # the step before brought it along
        set_time(step.at)
        with suppress(Interrupted):
            await teller.tell(step)
    held = await load_payment(p, MERCHANT, bundle.payment)
    return ends_of(held.payment, await p.store.history(bundle.payment))


class _Teller:
    def __init__(self, bundle: Bundle, p: Payments, gateway: ReplayGateway) -> None:
        self._bundle, self._p, self._gateway = bundle, p, gateway

    async def commits(self) -> int:
        return len(await self._p.store.history(self._bundle.payment))

    async def tell(self, step: Step) -> None:
        if step.event.startswith("dispute."):
            await self._dispute(step)
        elif step.answer is not None:
            await self._heard(step)
        elif step.cause == "api":
            await self._command(step)
        else:
            stored = await self._p.store.get(payment_key(MERCHANT, self._bundle.payment))
            assert stored is not None, "it was created by the first step"
            await sweep_payment(self._p, stored)

    async def _command(self, step: Step) -> None:
        p, payment = self._p, self._bundle.payment
        request = Request(MERCHANT, None, "", "reproduction", p.ids.new(ids.REQUEST))
        if step.event == "payment.created":
            await create_payment(p, self._creation(step), request)
            return
        made = next((one for one in self._bundle.attempts if one.id == step.attempt), None)
        if step.event == "refund.created":
            await refund_payment(p, payment, RefundPayment(step.amount), request)
        elif made is None or made.operation is Action.VOID:
            await cancel_payment(p, payment, CancelPayment(), request)
        elif made.operation is Action.CAPTURE:
            await capture_payment(p, payment, CapturePayment(made.amount, made.final), request)
        else:
            await confirm_payment(p, payment, ConfirmPayment(CardToken(type="card", token=TOKEN)), request)

    def _creation(self, step: Step) -> CreatePayment:
        bundle = self._bundle
        first = self._gateway.names()[0]
        confirm = bool(step.attempt)
        return CreatePayment(
            bundle.amount,
            bundle.currency,
            CardToken(type="card", token=TOKEN) if confirm else None,
            "manual" if bundle.capture_method == "manual" else "automatic",
            confirm,
            routing=RoutingWish(first) if bundle.pinned and confirm else None,
        )

    async def _heard(self, step: Step) -> None:
        assert step.answer is not None
        held = await load_payment(self._p, MERCHANT, self._bundle.payment)
        self._gateway.saying = step.answer
        report = CallReport(self._gateway.result(step.answer))
        cause = Cause(step.cause, None, report, step.answer.attempt, step.answer.detail)
        await record_result(self._p, held, step.answer.attempt, report, cause)
        self._gateway.saying = None

    async def _dispute(self, step: Step) -> None:
        p = self._p
        held = await load_payment(p, MERCHANT, self._bundle.payment)
        news = DisputeNews(step.subject, step.event.partition(".")[2], Money(step.amount, self._bundle.currency))
        provider = held.payment.provider or ""
        decision = apply_dispute(held.payment, news, provider=provider, new_id=p.ids.new, now=p.clock.now())
        if decision is not None:
            await commit(p, held, decision, Cause("notification", detail="reproduction"))
