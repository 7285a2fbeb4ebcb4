"""The journals as plain-text accounting: hledger, beancount, CSV. Streams, and exact: digits are moved, never divided.

Sources: https://hledger.org/hledger.html#journal, https://beancount.github.io/docs/beancount_language_syntax.html
(checked 2026-11-21)
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Iterator
from enum import StrEnum
from typing import Protocol
from zlib import crc32

from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.feed import Feed
from interlock.core.ledger.accounts import AccountType, account_id, line_of
from interlock.core.ledger.model import Journal
from interlock.core.ledger.records import day_of, journal_of
from interlock.core.ledger.verification import records_of

OPENED = "1970-01-01"
"""Accounts are never created, so they were always open."""


class Format(StrEnum):
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"
    CSV = "csv"


class Writer(Protocol):
    """Text of one export. Remembers which accounts it has declared, and nothing else."""

    def head(self) -> str: ...

    def entry(self, journal: Journal) -> str: ...


async def export(
    feed: Feed, format: Format, *, tenant: str | None = None, day: str | None = None
) -> AsyncIterator[str]:
    """The text in pieces, in the order of commits: all journals, or those of one tenant, of one UTC day (YYYY-MM-DD).

    With all tenants, an account's name begins with its tenant's. Raises ValueError for an event whose journal is not one:
    such a ledger wants `verify`.
    """
    writer = WRITERS[format](tenant is None)
    yield writer.head()
    async for record in records_of(feed):
        if tenant is not None and record.event.tenant != tenant:
            continue
        journal = journal_of(record.event)
        if journal is not None and day in (None, day_of(journal.at)):
            yield writer.entry(journal)


def decimal(amount: int, currency: str) -> str:
    """`amount` minor units in major units, with all the currency's digits: 1999 EUR -> 19.99, -5 KWD -> -0.005."""
    exponent = EXPONENTS[currency]
    digits = str(abs(amount)).rjust(exponent + 1, "0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}" if exponent else f"{sign}{digits}"


class HledgerWriter:
    def __init__(self, all_tenants: bool) -> None:
        self._names = AccountNames(all_tenants)
        self._currencies: set[str] = set()

    def head(self) -> str:
        return "; Interlock journals\ndecimal-mark .\n\n"

    def entry(self, journal: Journal) -> str:
        lines = []
        if journal.currency not in self._currencies:
            self._currencies.add(journal.currency)
            # hledger wants a decimal mark in the sample even where there are no decimals.
            sample = decimal(10 ** EXPONENTS[journal.currency] * 1000, journal.currency)
            lines.append(f"commodity {sample if '.' in sample else sample + '.'} {journal.currency}\n")
        accounts = [self._names.of(journal.tenant, posting.account) for posting in journal.postings]
        lines += [f"account {name}  ; type: {_HLEDGER_TYPES[kind]}\n" for name, kind, is_new in accounts if is_new]
        lines.append(
            f"{day_of(journal.at)} * ({journal.id}) {journal.kind}  "
            f"; payment: {journal.payment}, reference: {journal.reference}, at: {rfc3339(journal.at)}\n"
        )
        lines += [
            f"    {name}  {decimal(posting.amount, journal.currency)} {journal.currency}\n"
            for (name, _, _), posting in zip(accounts, journal.postings, strict=True)
        ]
        return "".join(lines) + "\n"


class BeancountWriter:
    def __init__(self, all_tenants: bool) -> None:
        self._names = AccountNames(all_tenants)

    def head(self) -> str:
        return '; Interlock journals\noption "title" "Interlock"\n\n'

    def entry(self, journal: Journal) -> str:
        accounts = [self._names.of(journal.tenant, posting.account) for posting in journal.postings]
        lines = [f"{OPENED} open {name}\n" for name, _, is_new in accounts if is_new]
        lines.append(f'{day_of(journal.at)} * "{journal.kind}"\n')
        lines += [
            f'  {key}: "{value}"\n'
            for key, value in (
                ("journal", journal.id),
                ("payment", journal.payment),
                ("reference", journal.reference),
                ("at", rfc3339(journal.at)),
            )
        ]
        lines += [
            f"  {name}  {decimal(posting.amount, journal.currency)} {journal.currency}\n"
            for (name, _, _), posting in zip(accounts, journal.postings, strict=True)
        ]
        return "".join(lines) + "\n"


class CsvWriter:
    COLUMNS = (
        "journal",
        "at",
        "day",
        "tenant",
        "kind",
        "payment",
        "reference",
        "account",
        "code",
        "currency",
        "debit",
        "credit",
        "amount_minor",
    )
    """`debit` and `credit` in major units, one of them empty; `amount_minor` signed, positive for a debit."""

    def __init__(self, all_tenants: bool) -> None:
        self._pieces: list[str] = []
        self._csv = csv.writer(_Pieces(self._pieces), lineterminator="\n")

    def head(self) -> str:
        self._csv.writerow(self.COLUMNS)
        return self._taken()

    def entry(self, journal: Journal) -> str:
        for code, amount in journal.postings:
            shown = decimal(abs(amount), journal.currency)
            self._csv.writerow(
                (
                    journal.id,
                    rfc3339(journal.at),
                    day_of(journal.at),
                    journal.tenant,
                    journal.kind,
                    journal.payment,
                    journal.reference,
                    account_id(journal.tenant, code, journal.currency),
                    code,
                    journal.currency,
                    shown if amount > 0 else "",
                    shown if amount < 0 else "",
                    amount,
                )
            )
        return self._taken()

    def _taken(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


class _Pieces:
    """Where the csv module writes."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def write(self, text: str) -> int:
        self._pieces.append(text)
        return len(text)


WRITERS: dict[Format, Callable[[bool], Writer]] = {
    Format.HLEDGER: HledgerWriter,
    Format.BEANCOUNT: BeancountWriter,
    Format.CSV: CsvWriter,
}


class AccountNames:
    """Names both programs take, such as Assets:Provider-receivable:Simulator-a. Two accounts never share one."""

    def __init__(self, all_tenants: bool) -> None:
        self._all_tenants = all_tenants
        self._names: dict[tuple[str, str], str] = {}
        self._owners: dict[str, tuple[str, str]] = {}

    def of(self, tenant: str, code: str) -> tuple[str, AccountType, bool]:
        """Name, type, and whether this is the first time."""
        account = (tenant if self._all_tenants else "", code)
        kind = line_of(code).type
        name = self._names.get(account)
        if name is not None:
            return name, kind, False
        name = self._free_name(account, kind)
        self._names[account] = name
        self._owners[name] = account
        return name, kind, True

    def _free_name(self, account: tuple[str, str], kind: AccountType) -> str:
        words = [*filter(None, (account[0],)), *account[1].split(":")]
        name = ":".join((_ROOTS[kind], *map(_component, words)))
        while name in self._owners:  # `a_b` and `a-b`, say: the later one gets a tail of its own
            name = f"{name}-{crc32('/'.join(account).encode()):08x}"
        return name


def _component(word: str) -> str:
    """A word as part of an account's name: ASCII letters, digits and dashes, beginning with a capital or a digit."""
    safe = "".join(_characters(word)) or "X"
    return (
        safe if safe[0].isdigit() or safe[0].isupper() else safe[0].upper() + safe[1:] if safe[0] != "-" else f"X{safe}"
    )


def _characters(word: str) -> Iterator[str]:
    for character in word:
        yield character if character.isascii() and character.isalnum() else "-"


_ROOTS = {
    AccountType.ASSET: "Assets",
    AccountType.LIABILITY: "Liabilities",
    AccountType.EXPENSE: "Expenses",
}
_HLEDGER_TYPES = {AccountType.ASSET: "A", AccountType.LIABILITY: "L", AccountType.EXPENSE: "X"}
