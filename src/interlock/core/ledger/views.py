"""What the outside sees of the ledger."""

from __future__ import annotations

from typing import Literal

import msgspec

from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.ledger.accounts import Account, Side, account_id
from interlock.core.ledger.model import Journal
from interlock.core.ledger.totals import Sums


class PostingView(msgspec.Struct, frozen=True):
    account: str
    code: str
    side: Literal["debit", "credit"]
    amount: int
    """Minor units, positive."""


class JournalView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["journal"]
    kind: str
    currency: str
    payment: str
    reference: str
    """The attempt, refund or dispute it books."""
    postings: list[PostingView]
    created_at: str


class AccountView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["account"]
    code: str
    type: Literal["asset", "liability", "expense"]
    normal_side: Literal["debit", "credit"]
    currency: str
    provider: str | None
    description: str


class BalanceView(msgspec.Struct, frozen=True):
    account: str
    code: str
    currency: str
    normal_side: Literal["debit", "credit"]
    balance: int
    """Minor units, positive when it stands on the normal side."""
    debits: int
    credits: int


class BalancesView(msgspec.Struct, frozen=True):
    object: Literal["balances"]
    as_of: str | None
    """The instant asked for, else that of the newest journal counted; null when nothing was ever posted."""
    data: list[BalanceView]


def journal_view(journal: Journal) -> JournalView:
    return JournalView(
        journal.id,
        "journal",
        journal.kind,
        journal.currency,
        journal.payment,
        journal.reference,
        [
            PostingView(
                account_id(journal.tenant, code, journal.currency),
                code,
                "debit" if amount > 0 else "credit",
                abs(amount),
            )
            for code, amount in journal.postings
        ],
        rfc3339(journal.at),
    )


def account_view(account: Account) -> AccountView:
    line = account.line
    return AccountView(
        account.id,
        "account",
        account.code,
        line.type.value,
        line.normal_side.value,
        account.currency,
        account.code.partition(":")[2] or None,
        line.meaning,
    )


def balance_view(account: Account, sums: Sums) -> BalanceView:
    normal = account.line.normal_side
    balance = sums.net if normal is Side.DEBIT else -sums.net
    return BalanceView(
        account.id,
        account.code,
        account.currency,
        normal.value,
        balance,
        sums.debits,
        sums.credits,
    )


def time_view(at: Millis | None) -> str | None:
    return None if at is None else rfc3339(at)


def encode_view(view: JournalView | BalancesView) -> bytes:
    return _encoder.encode(view)


_encoder = msgspec.json.Encoder()
