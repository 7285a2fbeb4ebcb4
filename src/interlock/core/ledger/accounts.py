"""The chart of accounts. Every tenant has it in every currency, and no account is ever created: its id follows from its name."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.ids import ACCOUNT, format_id


class AccountType(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    EXPENSE = "expense"


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"


class ChartLine(NamedTuple):
    """One line of the chart: an account, or with `per_provider` one account for each provider."""

    code: str
    type: AccountType
    normal_side: Side
    """The side on which its balance grows; balances are shown positive on this side."""
    letter: str
    """First character of its accounts' ids, so that an id tells its line without a lookup."""
    meaning: str
    per_provider: bool = False


MERCHANT_PAYABLE = "merchant_payable"
PROVIDER_RECEIVABLE = "provider_receivable"
FEES = "fees"
REFUNDS_RESERVED = "refunds_reserved"
DISPUTES_HELD = "disputes_held"
PAYOUTS_IN_TRANSIT = "payouts_in_transit"
SUSPENSE = "suspense"

_LINES = (
    ChartLine(MERCHANT_PAYABLE, AccountType.LIABILITY, Side.CREDIT, "m", "What is owed to the merchant."),
    ChartLine(
        PROVIDER_RECEIVABLE,
        AccountType.ASSET,
        Side.DEBIT,
        "p",
        "What a provider holds and owes us.",
        per_provider=True,
    ),
    ChartLine(FEES, AccountType.EXPENSE, Side.DEBIT, "f", "What providers kept for their work."),
    ChartLine(REFUNDS_RESERVED, AccountType.LIABILITY, Side.CREDIT, "r", "Promised to payers, not yet given back."),
    ChartLine(DISPUTES_HELD, AccountType.LIABILITY, Side.CREDIT, "d", "Held until a dispute is decided."),
    ChartLine(PAYOUTS_IN_TRANSIT, AccountType.LIABILITY, Side.CREDIT, "t", "On its way to the merchant's bank."),
    ChartLine(
        SUSPENSE,
        AccountType.LIABILITY,
        Side.CREDIT,
        "s",
        "Money that moved and belongs nowhere yet. Not zero: a person must look.",
    ),
)
CHART = MappingProxyType({line.code: line for line in _LINES})
_BY_LETTER = {line.letter: line for line in _LINES}
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Account(NamedTuple):
    id: str
    tenant: str
    code: str
    """merchant_payable, provider_receivable:stripe ..."""
    currency: str

    @property
    def line(self) -> ChartLine:
        return CHART[self.code.partition(":")[0]]


@lru_cache(maxsize=1024)
def line_of(code: str) -> ChartLine:
    """The line of the chart an account code stands on. Raises ValueError for a code the chart does not have."""
    name, colon, provider = code.partition(":")
    line = CHART.get(name)
    if line is None or line.per_provider != bool(colon) or (colon and not _PROVIDER.fullmatch(provider)):
        raise ValueError(f"{code!r} is not in the chart of accounts")
    return line


@lru_cache(maxsize=256)
def provider_receivable(provider: str) -> str:
    """The code of a provider's account. Raises ValueError for a name that is not lower case letters, digits, _ and -."""
    code = f"{PROVIDER_RECEIVABLE}:{provider}"
    line_of(code)
    return code


@lru_cache(maxsize=65_536)
def account_id(tenant: str, code: str, currency: str) -> str:
    """`acc_`, the line's letter and 25 characters of a hash: the same account has the same id everywhere, for ever."""
    letter = line_of(code).letter
    if currency not in EXPONENTS:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency in use")
    hashed = int.from_bytes(sha256(f"{tenant}\0{code}\0{currency}".encode()).digest()[:16], "big")
    return f"{ACCOUNT}_{letter}{format_id('', hashed >> 80, hashed)[2:]}"


def account(tenant: str, code: str, currency: str) -> Account:
    return Account(account_id(tenant, code, currency), tenant, code, currency)


def line_of_id(account_id: str) -> ChartLine | None:
    """The line an account id belongs to, or None if no account can have this id."""
    return _BY_LETTER.get(account_id[len(ACCOUNT) + 1 :][:1])
