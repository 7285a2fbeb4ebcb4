"""What the merchants of the demo want: stories, drawn by seed. Pure; `traffic` carries them out.

A recipe is one way a payment can go. Every recipe is told once before any is told twice, so a short demo meets them all.
"""

from __future__ import annotations

import random
from typing import Any, Literal, NamedTuple

Act = Literal[
    "confirm",
    "authenticate",
    "refuse",
    "capture",
    "cancel",
    "refund",
    "refunds_at_once",
    "capture_and_cancel_at_once",
    "too_much",
    "dispute_won",
    "dispute_lost",
    "send_refund_back",
]
FIRST_PROVIDER = "simulator"
"""Tried first; tokens that end in `-at-simulator` misbehave there and nowhere else."""
CURRENCIES = (("EUR", 8), ("USD", 6), ("GBP", 3), ("JPY", 3), ("KWD", 3), ("CHF", 1), ("SEK", 1), ("ISK", 1))
LARGEST = {"JPY": 90_000, "ISK": 90_000, "KWD": 250_000}
IMPATIENT_SHARE = 0.12
"""Of all requests: the client gives up on the first answer and asks again with the same key."""
REPEATED_SHARE = 0.25
"""Of all stories: the first request is sent once more when everything is over."""


class Step(NamedTuple):
    """What a merchant, or its payer, does next."""

    act: Act
    percent: int = 0
    """Share of the payment's amount; 0 leaves the amount out, which means all that is left."""
    final: bool | None = None
    """Of a capture: release the rest."""


class Recipe(NamedTuple):
    token: str
    steps: tuple[Step, ...] = ()
    manual: bool = False
    unconfirmed: bool = False
    twice_at_once: bool = False
    """The first request goes out on two connections at the same time, with one key."""
    weight: int = 1


class Story(NamedTuple):
    reference: str
    body: dict[str, Any]
    """Of POST /v1/payments."""
    recipe: Recipe
    seed: str
    """For what chance decides on the way."""
    is_repeated: bool


CAPTURE = Step("capture")
CANCEL = Step("cancel")
REFUND_ALL = Step("refund")
REFUND_PART = Step("refund", 30)
AUTHENTICATE = Step("authenticate")

RECIPES = (
    Recipe("tok_approve", weight=8),
    Recipe("tok_approve", (REFUND_ALL,), weight=2),
    Recipe("tok_approve", (REFUND_PART, REFUND_PART, Step("refund", 25)), weight=2),
    Recipe("tok_approve", (REFUND_PART, Step("too_much"), REFUND_ALL)),
    Recipe("tok_approve", (Step("refunds_at_once", 70),)),
    Recipe("tok_approve", (REFUND_PART, Step("send_refund_back"), REFUND_ALL)),
    Recipe("tok_approve", twice_at_once=True),
    Recipe("tok_approve", (CAPTURE,), manual=True, weight=3),
    Recipe("tok_approve", (Step("capture", 40), Step("capture", 35), CAPTURE, REFUND_PART), manual=True, weight=2),
    Recipe("tok_approve", (Step("capture", 60, True), REFUND_ALL), manual=True, weight=2),
    Recipe("tok_approve", (Step("capture", 50), Step("refund", 20), CANCEL, REFUND_PART), manual=True),
    Recipe("tok_approve", (Step("too_much"), CAPTURE), manual=True),
    Recipe("tok_approve", (Step("capture_and_cancel_at_once", 45), CANCEL), manual=True),
    Recipe("tok_approve", (CANCEL,), manual=True, weight=2),
    Recipe("tok_approve", (Step("confirm"), REFUND_PART), unconfirmed=True),
    Recipe("tok_approve", (CANCEL,), unconfirmed=True),
    Recipe("tok_decline_insufficient_funds", weight=2),
    Recipe("tok_decline_stolen"),
    Recipe("tok_decline_issuer_unavailable"),
    Recipe("tok_decline_issuer_unavailable-at-simulator", (REFUND_PART,)),
    Recipe("tok_3ds", (AUTHENTICATE, REFUND_ALL), weight=2),
    Recipe("tok_3ds", (AUTHENTICATE, Step("capture", 70), CANCEL), manual=True),
    Recipe("tok_3ds", (Step("refuse"),)),
    Recipe("tok_3ds", (CANCEL,)),
    Recipe("tok_pending", (REFUND_PART,)),
    Recipe("tok_pending", (CAPTURE,), manual=True),
    Recipe("tok_timeout_after_accept", (REFUND_ALL,)),
    Recipe("tok_timeout_after_accept", (CANCEL,), manual=True),
    Recipe("tok_timeout_before_accept"),
    Recipe("tok_connect_refused"),
    Recipe("tok_connect_refused-at-simulator", (REFUND_PART,), weight=2),
    Recipe("tok_rate_limited-at-simulator", (CAPTURE,), manual=True),
    Recipe("tok_rate_limited"),
    Recipe("tok_error_though_charged", (REFUND_PART,)),
    Recipe("tok_garbage", (CAPTURE,), manual=True),
    Recipe("tok_wrong_amount"),
    Recipe("tok_late_approval"),
    Recipe("tok_late_approval", manual=True),
    Recipe("tok_duplicate_notification", (REFUND_PART,)),
    Recipe("tok_out_of_order_notifications", (CAPTURE,), manual=True),
    Recipe("tok_notification_before_answer"),
    Recipe("tok_dispute"),
    Recipe("tok_dispute", (Step("dispute_won"), REFUND_PART)),
    Recipe("tok_dispute", (Step("dispute_lost"),)),
    Recipe("tok_dispute", (Step("refund", 50),)),
    Recipe("tok_dispute", (Step("capture", 55), CAPTURE, Step("dispute_won")), manual=True),
)


def stories(count: int, *, seed: int, run: str) -> list[Story]:
    """`count` stories, the same for the same seed. `run` tells this demo's payments from those of another one."""
    dice = random.Random(f"stories/{seed}")  # noqa: S311 - repeatable on purpose
    deck = list(RECIPES)
    dice.shuffle(deck)
    chosen = deck[:count]
    chosen += dice.choices(RECIPES, [recipe.weight for recipe in RECIPES], k=count - len(chosen))
    return [_story(recipe, f"{run}-{number}", dice) for number, recipe in enumerate(chosen, 1)]


def _story(recipe: Recipe, reference: str, dice: random.Random) -> Story:
    names, weights = zip(*CURRENCIES, strict=True)
    currency = dice.choices(names, weights)[0]
    body: dict[str, Any] = {
        "amount": dice.randint(100, LARGEST.get(currency, 40_000)),
        "currency": currency,
        "payment_method": {"type": "card", "token": recipe.token},
        "capture_method": "manual" if recipe.manual else "automatic",
        "reference": reference,
        "return_url": "https://shop.example.com/return",
        "metadata": {"basket": str(dice.randint(1, 9_999))},
    }
    if recipe.unconfirmed:
        body["confirm"] = False
    return Story(reference, body, recipe, str(dice.random()), dice.random() < REPEATED_SHARE)
