"""A repair, its items, and what becomes of each."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from interlock.core.desk.bulk.model import Bulk
from interlock.core.kernel.clock import Millis

ITEMS_MAX = 1_000
ITEMS_OF_A_PAGE = 50
"""A page is rewritten with each of its items, and all pages are made in one commit."""


class Action(StrEnum):
    LOOK_UP = "look_up"
    """Ask the provider now what became of what is uncertain."""
    REFUND = "refund"
    """Give back all that can still be given back."""
    CANCEL = "cancel"
    """Release what is authorised and not captured."""
    RETRY_WEBHOOKS = "retry_webhooks"
    """Send once more what the merchant never took."""


MOVES_MONEY = frozenset({Action.REFUND, Action.CANCEL})


class Became(StrEnum):
    OPEN = "open"
    DONE = "done"
    SKIPPED = "skipped"
    """It was no longer as it had been in the preview, or it cannot be done."""
    FAILED = "failed"
    """It was tried and did not work."""


class Item(msgspec.Struct, frozen=True):
    """One payment of a repair, as the preview saw it, and what became of it."""

    payment: str
    merchant: str
    version: int
    """Of the payment when it was previewed; a later one may be something else."""
    amount: int
    """Minor units that it is about."""
    currency: str
    became: Became = Became.OPEN
    detail: str = ""
    at: Millis = 0


class Repair(Bulk, frozen=True, kw_only=True):
    NOUN: ClassVar[str] = "repair"

    action: Action

    @property
    def pages(self) -> int:
        return -(-self.items // ITEMS_OF_A_PAGE)


class Planned(msgspec.Struct, frozen=True):
    """What a repair would do: to which payments, and to which not, and why."""

    action: Action
    items: tuple[Item, ...]
    left_out: tuple[Item, ...]
    """The first of them; `detail` says why."""
    left_out_number: int
    complete: bool
    """False: more payments fit than one repair takes."""
