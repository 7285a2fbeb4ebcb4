"""What each card token makes the simulated provider do: a table.

Extensions to the plain tokens:
  * `tok_X-at-NAME` behaves like `tok_X` at the instance NAME and like `tok_approve` at the others: one provider fails, the next
    one works.
  * `tok_X-card-BIN` and `tok_X-at-NAME-card-BIN` are of another card (`cards.py`) and do the same.
  * A token nobody issued is declined.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from interlock.simulator import cards
from interlock.simulator.books import Verdict
from interlock.simulator.faults import FaultKind
from interlock.simulator.model import Status

AT = "-at-"
REFUSED_FAMILY = "tok_connect_refused"
"""Tokens that begin like this need a session before they can be charged; the session's request is where the connection ends."""


class Telling(StrEnum):
    """How notifications of a charge go out."""

    ONCE = "once"
    TWICE = "twice"
    OUT_OF_ORDER = "out_of_order"
    """The last word first, then an older one."""
    BEFORE_ANSWER = "before_answer"


class Behaviour(NamedTuple):
    verdict: Verdict
    fault: FaultKind | None = None
    late: bool = False
    """Declined first and approved some time later."""
    dispute: bool = False
    telling: Telling = Telling.ONCE


_APPROVED = Verdict(Status.AUTHORIZED)
APPROVE = Behaviour(_APPROVED)
UNKNOWN_TOKEN = Behaviour(Verdict(Status.DECLINED, "token_unknown"))

TOKENS: dict[str, Behaviour] = {
    "tok_approve": APPROVE,
    "tok_decline_insufficient_funds": Behaviour(Verdict(Status.DECLINED, "insufficient_funds")),
    "tok_decline_stolen": Behaviour(Verdict(Status.DECLINED, "stolen_card")),
    "tok_decline_issuer_unavailable": Behaviour(Verdict(Status.DECLINED, "issuer_unavailable")),
    "tok_3ds": Behaviour(Verdict(Status.REQUIRES_ACTION)),
    "tok_pending": Behaviour(Verdict(Status.PENDING)),
    "tok_timeout_after_accept": Behaviour(_APPROVED, FaultKind.TIMEOUT_AFTER_ACCEPT),
    "tok_timeout_before_accept": Behaviour(_APPROVED, FaultKind.TIMEOUT_BEFORE_ACCEPT),
    "tok_connect_refused": Behaviour(_APPROVED, FaultKind.RESET_BEFORE_ACCEPT),
    "tok_error_though_charged": Behaviour(_APPROVED, FaultKind.ERROR_THOUGH_CHARGED),
    "tok_garbage": Behaviour(_APPROVED, FaultKind.GARBAGE),
    "tok_wrong_amount": Behaviour(_APPROVED, FaultKind.WRONG_AMOUNT),
    "tok_rate_limited": Behaviour(_APPROVED, FaultKind.RATE_LIMITED),
    "tok_late_approval": Behaviour(Verdict(Status.DECLINED, "processing_timeout"), late=True),
    "tok_duplicate_notification": Behaviour(_APPROVED, telling=Telling.TWICE),
    "tok_out_of_order_notifications": Behaviour(_APPROVED, telling=Telling.OUT_OF_ORDER),
    "tok_notification_before_answer": Behaviour(_APPROVED, telling=Telling.BEFORE_ANSWER),
    "tok_dispute": Behaviour(_APPROVED, dispute=True),
}


def behaviour_of(token: str, instance: str) -> Behaviour:
    token, card = cards.split(token)
    if card is None:
        return UNKNOWN_TOKEN
    known = TOKENS.get(token)
    if known is not None:
        return known
    base, at, name = token.partition(AT)
    if not at or base not in TOKENS:
        return UNKNOWN_TOKEN
    return TOKENS[base] if name == instance else APPROVE
