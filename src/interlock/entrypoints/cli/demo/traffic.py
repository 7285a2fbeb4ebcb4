"""Tells the stories to a running platform: many merchants at once, each one story after another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from interlock.core.payments.states import DisputeState, RefundState
from interlock.entrypoints.cli.demo.merchant import Answer, Merchant
from interlock.entrypoints.cli.demo.stories import IMPATIENT_SHARE, Act, Step, Story

MERCHANTS = 24
WAIT_S = 45.0
"""So long a merchant waits for a payment to come to rest before it leaves the rest of its story untold."""
LOOK_EVERY_S = 0.3
GIVE_UP_S = (0.02, 0.12)
"""Between these, an impatient client's first try ends."""

Payment = dict[str, Any]


async def tell_all(
    stories: Sequence[Story],
    merchant: Merchant,
    *,
    simulator_url: str,
    on_told: Callable[[], None],
    wait_s: float = WAIT_S,
) -> list[str]:
    """Tell every story; those that were left before their end, because nothing came to rest or nobody answered."""
    waiting = iter(stories)
    left: list[str] = []

    async def one_after_another() -> None:
        for story in waiting:
            teller = _Teller(story, merchant, simulator_url, wait_s)
            try:
                await teller.tell()
            except TimeoutError as error:
                left.append(f"{story.reference}: its merchant gave up at {teller.at}: {error}")
            on_told()

    async with asyncio.TaskGroup() as merchants:
        for _ in range(MERCHANTS):
            merchants.create_task(one_after_another())
    return left


class _Teller:
    """One story."""

    def __init__(self, story: Story, merchant: Merchant, simulator_url: str, wait_s: float) -> None:
        self.at: str = "the first request"
        self._story = story
        self._merchant = merchant
        self._simulator_url = simulator_url
        self._wait_s = wait_s
        self._dice = random.Random(story.seed)  # noqa: S311 - repeatable on purpose
        self._keys = 0
        self._path = ""
        self._acts: Mapping[Act, Callable[[Step], Awaitable[None]]] = {
            "confirm": self._confirm,
            "authenticate": self._answer_challenge,
            "refuse": self._answer_challenge,
            "capture": self._capture,
            "cancel": self._cancel,
            "refund": self._refund,
            "refunds_at_once": self._refunds_at_once,
            "capture_and_cancel_at_once": self._capture_and_cancel_at_once,
            "too_much": self._too_much,
            "dispute_won": self._decide_dispute,
            "dispute_lost": self._decide_dispute,
            "send_refund_back": self._send_refund_back,
        }

    async def tell(self) -> None:
        story, key = self._story, self._new_key()
        copies = 2 if story.recipe.twice_at_once else 1
        answers = await asyncio.gather(*(self._post("/v1/payments", story.body, key) for _ in range(copies)))
        if not answers[0].is_good:
            return
        self._path = f"/v1/payments/{answers[0].content['id']}"
        for step in story.recipe.steps:
            self.at = step.act
            await self._acts[step.act](step)
        if story.is_repeated:
            await self._post("/v1/payments", story.body, key)
            await self._post("/v1/payments", {**story.body, "amount": story.body["amount"] + 1}, key)

    # Acts

    async def _confirm(self, _: Step) -> None:
        await self._command("confirm", {})

    async def _answer_challenge(self, step: Step) -> None:
        payment = await self._at_rest()
        if payment["status"] != "requires_action":
            return
        result = "authenticated" if step.act == "authenticate" else "failed"
        await self._merchant.tell_simulator("POST", f"{payment['next_action']['url']}/complete", {"result": result})
        await self._once(lambda payment: payment["status"] not in ("requires_action", "processing"))

    async def _capture(self, step: Step) -> None:
        payment = await self._at_rest()
        if payment["status"] == "requires_capture":
            await self._command("capture", self._capture_body(step, payment))

    async def _cancel(self, _: Step) -> None:
        payment = await self._at_rest()
        if payment["status"] in ("requires_capture", "requires_action", "requires_confirmation"):
            await self._command("cancel", {"reason": "requested_by_customer"})

    async def _refund(self, step: Step) -> None:
        payment = await self._at_rest()
        if payment["amount_captured"]:
            await self._command("refunds", self._refund_body(step, payment))

    async def _refunds_at_once(self, step: Step) -> None:
        """Two whose sum is more than there is: one of them must be refused."""
        payment = await self._at_rest()
        if payment["amount_captured"]:
            body = self._refund_body(step, payment)
            await asyncio.gather(self._command("refunds", body), self._command("refunds", body))

    async def _capture_and_cancel_at_once(self, step: Step) -> None:
        payment = await self._at_rest()
        if payment["status"] == "requires_capture":
            await asyncio.gather(
                self._command("capture", self._capture_body(step, payment)), self._command("cancel", {})
            )

    async def _too_much(self, _: Step) -> None:
        payment = await self._at_rest()
        body = {"amount": payment["amount"] + 1}
        await self._command("capture" if payment["status"] == "requires_capture" else "refunds", body)

    async def _decide_dispute(self, step: Step) -> None:
        payment = await self._at_rest()
        if not payment["amount_captured"]:
            return
        payment = await self._once(lambda payment: payment["disputes"])
        order = {"payment_id": payment["id"], "status": step.act.removeprefix("dispute_")}
        await self._merchant.tell_simulator("POST", f"{self._simulator_url}/{payment['provider']}/disputes", order)
        await self._once(lambda payment: payment["disputes"][0]["status"] != DisputeState.OPENED)

    async def _send_refund_back(self, _: Step) -> None:
        """The payer's bank has no account for it any more."""
        payment = await self._at_rest()
        refunds = [attempt for attempt in payment["attempts"] if attempt["operation"] == "refund"]
        done = [attempt for attempt in refunds if attempt["outcome"] == "approved"]
        if done:
            url = f"{self._simulator_url}/{payment['provider']}/returns"
            await self._merchant.tell_simulator("POST", url, {"attempt_id": done[-1]["id"]})
            await self._once(lambda payment: payment["refunds"][-1]["status"] == RefundState.FAILED)

    # Means

    async def _command(self, name: str, body: Mapping[str, Any]) -> Answer:
        return await self._post(f"{self._path}/{name}", body, self._new_key())

    async def _post(self, path: str, body: Mapping[str, Any], key: str) -> Answer:
        impatient = self._dice.random() < IMPATIENT_SHARE
        return await self._merchant.post(
            path, body, key=key, give_up_s=self._dice.uniform(*GIVE_UP_S) if impatient else None
        )

    async def _at_rest(self) -> Payment:
        """The payment once no operation of it is under way."""
        return await self._once(
            lambda payment: (
                payment["status"] != "processing"
                and all(refund["status"] != RefundState.PENDING for refund in payment["refunds"])
            )
        )

    async def _once(self, holds: Callable[[Payment], object]) -> Payment:
        """The payment once `holds`. Raises TimeoutError."""
        until = time.monotonic() + self._wait_s
        while True:
            payment: Payment = await self._merchant.get(self._path)
            if holds(payment):
                return payment
            if time.monotonic() > until:
                raise TimeoutError(f"{payment['id']} is {payment['status']} after {self._wait_s:g} s")
            await asyncio.sleep(LOOK_EVERY_S)

    def _new_key(self) -> str:
        self._keys += 1
        return f"{self._story.reference}/{self._keys}"

    def _capture_body(self, step: Step, payment: Payment) -> dict[str, Any]:
        left = payment["amount_authorized"] - payment["amount_captured"]
        body: dict[str, Any] = {}
        if step.percent:
            body["amount"] = max(1, min(payment["amount"] * step.percent // 100, left))
        if step.final is not None:
            body["final"] = step.final
        return body

    def _refund_body(self, step: Step, payment: Payment) -> dict[str, Any]:
        if not step.percent:
            return {}
        return {"amount": max(1, payment["amount_captured"] * step.percent // 100)}
