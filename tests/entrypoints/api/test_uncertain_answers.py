"""Providers whose answers cannot be trusted, through the whole stack: it stays open, somebody is told, the truth wins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.simulator.faults import FaultKind
from interlock.simulator.model import Kind
from tests.entrypoints.api.beside import CARD, Beside, beside

pytestmark = pytest.mark.xdist_group("api-uncertain")

CHARGED = {
    "late": FaultKind.TIMEOUT_AFTER_ACCEPT,
    "late_booking": FaultKind.LATE_ACCEPT,
    "reset": FaultKind.RESET_AFTER_ACCEPT,
    "stalled": FaultKind.STALLED,
    "truncated": FaultKind.TRUNCATED,
    "garbage": FaultKind.GARBAGE,
    "huge": FaultKind.HUGE,
    "endless": FaultKind.ENDLESS,
    "error": FaultKind.ERROR_THOUGH_CHARGED,
    "wrong_amount": FaultKind.WRONG_AMOUNT,
    "wrong_currency": FaultKind.WRONG_CURRENCY,
    "wrong_reference": FaultKind.WRONG_REFERENCE,
}
"""Name of a provider -> what it does though it charged, or will."""
LYING = ("wrong_amount", "wrong_currency", "wrong_reference")


def asking(provider: str, **more: Any) -> dict[str, Any]:
    return {"amount": 1999, "currency": "EUR", "payment_method": CARD, "routing": {"provider": provider}, **more}


async def test_charge_whose_answer_cannot_be_trusted_is_processing_with_an_alarm_and_settles_to_the_truth(tmp_path):
    async with beside(tmp_path, *CHARGED, "well") as world:
        for name, fault in CHARGED.items():
            world.plan(name, operations={Kind.CHARGE: {fault: 1.0}}, hang_s=1.5, late_accept_s=1.5)
        stories = await asyncio.gather(*(story_of_a_charge(world, name) for name in CHARGED))
        assert dict(stories) == dict.fromkeys(CHARGED, "as it should be")
        assert await world.metric("interlock_alarms_total", event="payment.outcome_unknown") == len(CHARGED)
        assert await world.metric("interlock_alarms_total", event="provider.alarm_raised") >= len(LYING)
        assert (await world.node.verified()).sound


async def story_of_a_charge(world: Beside, name: str) -> tuple[str, str]:
    """The payment through one provider; "as it should be", or what was not."""
    node, key = world.node, f"key-{name}"
    status, headers, payment = await world.ask_whole("POST", "/v1/payments", asking(name), key=key)
    if (status, payment["status"]) != (202, "processing"):
        return name, f"answered {status} {payment['status']}"
    [attempt] = payment["attempts"]
    if attempt["outcome"] != "unknown" or payment["amount_captured"]:
        return name, f"its attempt is {attempt['outcome']}"
    again = await node.ask("POST", f"/v1/payments/{payment['id']}/confirm", {}, key=f"{key}-2")
    if again[0] != 409:
        return name, f"a second attempt was answered {again[0]}"
    settled = await node.until(payment["id"], lambda now: now["status"] != "processing")
    if (settled["status"], settled["amount_captured"], len(settled["attempts"])) != ("succeeded", 1999, 1):
        return name, f"it ends as {settled['status']} with {settled['amount_captured']}"
    held = [(charge["provider"], charge["captured"], charge["currency"]) for charge in world.charges(payment["id"])]
    if held != [(name, 1999, "EUR")]:
        return name, f"the books say {held}"
    _, headers, replayed = await world.ask_whole("POST", "/v1/payments", asking(name), key=key)
    if headers.get("idempotency-replayed") != "true" or replayed != payment:
        return name, "the replay is another answer"
    return name, "as it should be"


async def test_lie_about_the_amount_is_in_the_timeline_and_in_the_alarms(tmp_path):
    async with beside(tmp_path) as world:
        world.plan("simulator", operations={Kind.CHARGE: {FaultKind.WRONG_AMOUNT: 1.0}})
        _, _, payment = await world.ask_whole("POST", "/v1/payments", asking("simulator"), key="k1")
        assert payment["status"] == "processing"
        _, _, timeline = await world.ask_whole("GET", f"/v1/payments/{payment['id']}/timeline")
        told = [entry for entry in timeline["entries"] if entry.get("alarms")]
        assert [set(entry["alarms"]) for entry in told] == [{"amount_mismatch", "outcome_unknown"}]
        assert timeline["state"] == "uncertain"
        assert await world.metric("interlock_unknown_oldest_seconds") >= 0


async def test_charge_that_never_arrived_is_found_out_and_fails_without_one(tmp_path):
    async with beside(tmp_path, "simulator", "well") as world:
        world.plan("simulator", operations={Kind.CHARGE: {FaultKind.TIMEOUT_BEFORE_ACCEPT: 1.0}}, hang_s=1.0)
        _, _, payment = await world.ask_whole("POST", "/v1/payments", asking("simulator"), key="k1")
        assert (payment["status"], payment["attempts"][0]["outcome"]) == ("processing", "unknown")
        settled = await world.node.until(payment["id"], lambda now: now["status"] != "processing", timeout_s=60)
        assert (settled["status"], settled["amount_captured"], len(settled["attempts"])) == ("failed", 0, 1)
        assert world.charges(payment["id"]) == []


@pytest.mark.parametrize("fault", [FaultKind.TIMEOUT_AFTER_ACCEPT, FaultKind.GARBAGE, FaultKind.WRONG_AMOUNT])
async def test_refund_whose_answer_cannot_be_trusted_stays_reserved_until_it_is_known(tmp_path, fault):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", asking("simulator"), key="k1")
        assert payment["status"] == "succeeded"
        world.plan("simulator", operations={Kind.REFUND: {fault: 1.0}}, hang_s=1.5)
        path = f"/v1/payments/{payment['id']}"
        status, _, refund = await world.ask_whole("POST", f"{path}/refunds", {"amount": 1500}, key="k2")
        assert (status, refund["status"]) == (202, "pending")
        status, _, problem = await world.ask_whole("POST", f"{path}/refunds", {"amount": 500}, key="k3")
        assert (status, problem["code"]) == (409, "payment_busy")
        settled = await world.node.until(
            payment["id"], lambda now: now["refunds"] and now["refunds"][0]["status"] != "pending"
        )
        assert (settled["refunds"][0]["status"], settled["amount_refunded"]) == ("succeeded", 1500)
        [charge] = world.charges(payment["id"])
        assert charge["refunded"] == 1500
        assert (await world.node.verified()).sound
