"""Seeded walks through the HTTP layer: many conflicting requests, faulty providers, commits that fail or only seem to, deaths
between any two steps.

After each walk everything open comes to its end, and every invariant is held against store, ledger, webhooks and books.
A seed that fails is named; run with SEED=n in the environment it walks again, step for step. SEEDS says how many there are.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.scenarios.world import World

SEEDS = int(os.environ.get("SEEDS", "12"))
ONLY = os.environ.get("SEED")
STEPS = 48
TOKENS = (
    *["tok_approve"] * 6,
    "tok_decline_insufficient_funds",
    "tok_decline_stolen",
    "tok_3ds",
    "tok_pending",
    "tok_timeout_after_accept",
    "tok_timeout_before_accept",
    "tok_connect_refused",
    "tok_error_though_charged",
    "tok_garbage",
    "tok_wrong_amount",
    "tok_rate_limited",
    "tok_late_approval",
    "tok_duplicate_notification",
    "tok_out_of_order_notifications",
    "tok_notification_before_answer",
    "tok_dispute",
)
COMMIT_FAULTS = ("unavailable", "unknown, not done", "unknown, done")


@pytest.mark.parametrize("seed", [int(ONLY)] if ONLY else range(1, SEEDS + 1))
async def test_a_walk_loses_nothing_and_doubles_nothing(seed):
    walk = Walk(seed)
    await walk.walk()
    await walk.end()


class Walk:
    def __init__(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        # Notifications are repeated, late and out of order, but none is lost for good: providers repeat them until taken.
        notifications = {
            "duplicate_rate": dice.choice([0, 0.3]),
            "delay_ms": dice.choice([0, 500]),
            "jitter_ms": dice.choice([0, 3000]),
        }
        self.world = World(
            seed=seed, rate=dice.choice([0, 0.1, 0.3]), hang_s=dice.choice([1, 12, 30]), notifications=notifications
        )
        self.fault_rate = dice.choice([0, 0.02, 0.05])
        self.asked: list[tuple[str, object, str]] = []

    def fault_of(self, called, _args):
        return (
            self.dice.choice(COMMIT_FAULTS)
            if called == "store.commit" and self.dice.random() < self.fault_rate
            else None
        )

    async def walk(self) -> None:
        dice, world = self.dice, self.world
        await world.hook()
        world.fault_of = self.fault_of
        for step in range(STEPS):
            if world.node.dead:
                await world.restart()
            self.ask(f"k{step}")
            if dice.random() < 0.15:
                path, body, key = dice.choice(self.asked)
                world.begin("POST", path, body, key=key)  # a client that gave up too early
            if dice.random() < 0.1:
                world.node.kill_at = world.node.steps + dice.randrange(1, 40)
            if dice.random() < 0.1:
                self.payers_act()
            if dice.random() < 0.6:
                await world.run(dice.choice([0.1, 1, 5, 50]))
            else:
                await world.clock.settle()

    def ask(self, key: str) -> None:
        """A new payment, or something asked of one there is."""
        dice, payments = self.dice, self.world.payments()
        if not payments or dice.random() < 0.3:
            path, body = (
                "/v1/payments",
                {
                    "amount": dice.choice([1, 1000, 99999]),
                    "currency": dice.choice(["EUR", "JPY", "KWD"]),
                    "payment_method": {"type": "card", "token": dice.choice(TOKENS)},
                    "capture_method": dice.choice(["automatic", "manual"]),
                },
            )
        else:
            verb, bodies = dice.choice(
                [
                    ("capture", [{}, {"amount": 400}, {"amount": 300, "final": True}]),
                    ("cancel", [{}]),
                    ("refunds", [{}, {"amount": 100}, {"amount": 500}]),
                    ("refunds", [{"amount": 200}]),
                ]
            )
            path, body = f"/v1/payments/{dice.choice(payments).id}/{verb}", dice.choice(bodies)
        self.asked.append((path, body, key))
        self.world.begin("POST", path, body, key=key)

    def payers_act(self) -> None:
        for payment in self.world.payments():
            if payment.state == "requires_action" and payment.provider is not None:
                rows = self.world.rows(payment.id, name=payment.provider)
                if rows and rows[0]["state"] == "requires_action":
                    result = self.dice.choice(["authenticated", "failed"])
                    self.world.complete_challenge(payment.id, result, name=payment.provider)

    async def end(self) -> None:
        """No more faults; what is open comes to its end, and all books must agree."""
        world = self.world
        world.fault_of = lambda called, args: None
        world.node.kill_at = None
        if world.node.dead:
            await world.restart()
        for name in world.instances:
            world.faults(name)
        await world.run(60)
        await world.assert_invariants()
