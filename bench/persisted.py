"""What is really there afterwards: rows and sums read from each contestant's database, held against its answers.

An implementation that answers and stores nothing would win every race. So a run counts only if, for each contestant,
payments, captured amounts, journals, ledger lines, idempotency records, events and the provider's books all say what the
answers said.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.comparators.postgres import Postgres
from interlock.bootstrap import DATABASE_FILE
from interlock.entrypoints.local import TENANT


class Answered(NamedTuple):
    """What the load generator was told, over all slices of one contestant."""

    payments: int = 0
    amount: int = 0
    """Minor units."""

    def plus(self, payments: int, amount: int) -> Answered:
        return Answered(self.payments + payments, self.amount + amount)


class Stored(NamedTuple):
    """Rows of one contestant, and the sums in them. All amounts are minor units of the one currency used."""

    payments: int
    succeeded: int
    captured: int
    journals: int
    journals_unbalanced: int
    debited: int
    """Of the account of what the provider owes us."""
    credited: int
    """To the account of what we owe merchants."""
    idempotency_records: int
    idempotency_answers: int
    """Records whose answer is stored."""
    events: int
    """That say a payment succeeded."""
    references: int
    """Different ones among the payments'."""


def disagreements(name: str, answered: Answered, stored: Stored, *, booked: int) -> list[str]:
    """Everything that does not fit; empty is the only good value. `booked`: captured, in the provider's books."""
    expected = {
        "payments": answered.payments,
        "succeeded": answered.payments,
        "captured": answered.amount,
        "journals": answered.payments,
        "journals_unbalanced": 0,
        "debited": answered.amount,
        "credited": answered.amount,
        "idempotency_records": answered.payments,
        "idempotency_answers": answered.payments,
        "events": answered.payments,
        "references": answered.payments,
    }
    wrong = [
        f"{name}: {field} {getattr(stored, field)}, the answers say {value}"
        for field, value in expected.items()
        if getattr(stored, field) != value
    ]
    if booked != answered.amount:
        wrong.append(f"{name}: the provider's books say {booked}, the answers {answered.amount}")
    if not answered.payments:
        wrong.append(f"{name}: not one payment was made")
    return wrong


def in_postgres(postgres: Postgres, database: str) -> Stored:
    """A comparator's rows."""
    statement = """
        SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payments WHERE status = 'succeeded'),
               (SELECT coalesce(sum(amount_captured), 0) FROM payments), (SELECT count(*) FROM journals),
               (SELECT count(*) FROM (SELECT 1 FROM journals AS j LEFT JOIN journal_lines AS l ON l.journal_id = j.id
                                      GROUP BY j.id HAVING coalesce(sum(l.amount), 1) <> 0 OR count(l.line) < 2) AS odd),
               (SELECT coalesce(sum(amount), 0) FROM journal_lines WHERE account LIKE 'provider_receivable:%'),
               (SELECT -coalesce(sum(amount), 0) FROM journal_lines WHERE account = 'merchant_payable'),
               (SELECT count(*) FROM idempotency_keys),
               (SELECT count(*) FROM idempotency_keys WHERE status = 201 AND response IS NOT NULL),
               (SELECT count(*) FROM outbox WHERE type = 'payment.succeeded'),
               (SELECT count(DISTINCT reference) FROM payments)
    """
    (row,) = postgres.ask(database, statement)
    return Stored(*(int(value) for value in row))


class _Payment(msgspec.Struct):
    state: str
    amount_captured: int = 0
    reference: str = ""


class _Journal(msgspec.Struct):
    payment: str
    postings: list[tuple[str, int]]


class _StoredJournal(msgspec.Struct):
    journal: _Journal


class _Answer(msgspec.Struct):
    request: str


class _Facts(msgspec.Struct):
    answer: _Answer | None = None


class _Event(msgspec.Struct):
    type: str
    facts: _Facts


def in_interlock(folder: Path, *, since: str = "") -> Stored:
    """Our platform's rows: read from the file, not through the platform's own code.

    `since`: only payments with larger ids, and what belongs to them (ids grow with time).
    """
    with sqlite3.connect(f"file:{folder / DATABASE_FILE}?mode=ro", uri=True) as database:
        payments: Counter[str] = Counter()
        captured, references = 0, set()
        for (value,) in _items(database, f"{TENANT}/pay/{since or 'pay_'}"):
            payment = _payment.decode(value)
            payments[payment.state] += 1
            captured += payment.amount_captured
            references.add(payment.reference)
        journals = unbalanced = debited = credited = 0
        for (value,) in _journal_items(database, since):
            journal = _journal.decode(value).journal
            if journal.payment <= since:
                continue
            journals, postings = journals + 1, journal.postings
            unbalanced += sum(amount for _, amount in postings) != 0 or len(postings) < 2
            debited += sum(amount for account, amount in postings if account.startswith("provider_receivable:"))
            credited -= sum(amount for account, amount in postings if account == "merchant_payable")
        requests = _requests(database, since)
        answers, events = set(), 0
        rows = database.execute(
            "SELECT body FROM events WHERE aggregate > ? AND aggregate < 'pay_~'", (since or "pay_",)
        )
        for (body,) in rows:
            event = _event.decode(body)
            events += event.type == "payment.succeeded"
            if event.facts.answer is not None:
                answers.add(event.facts.answer.request)
    database.close()
    return Stored(
        payments=payments.total(),
        succeeded=payments["succeeded"],
        captured=captured,
        journals=journals,
        journals_unbalanced=unbalanced,
        debited=debited,
        credited=credited,
        idempotency_records=len(requests),
        idempotency_answers=len(requests & answers),
        events=events,
        references=len(references),
    )


def newest_payment(folder: Path) -> str:
    """Id of the newest payment in a folder, or empty."""
    with sqlite3.connect(f"file:{folder / DATABASE_FILE}?mode=ro", uri=True) as database:
        row = database.execute(
            "SELECT partition FROM items WHERE partition > ? AND partition < ? ORDER BY partition DESC LIMIT 1",
            (f"{TENANT}/pay/", f"{TENANT}/pay/~"),
        ).fetchone()
    database.close()
    return row[0].rpartition("/")[2] if row else ""


def _items(database: sqlite3.Connection, after: str) -> Any:
    """Payments behind `after`."""
    return database.execute(
        "SELECT value FROM items WHERE partition > ? AND partition < ? ORDER BY partition", (after, f"{TENANT}/pay/~")
    )


def _journal_items(database: sqlite3.Connection, since: str) -> Any:
    """Journals have ids of their own, which grow with time, too: those made since then, one of that payment among them."""
    return database.execute(
        "SELECT value FROM items WHERE partition > ? AND partition < ? AND sort > ?",
        (f"{TENANT}/jrn/", f"{TENANT}/jrn/~", since.replace("pay_", "jrn_", 1) or "jrn_"),
    )


def _requests(database: sqlite3.Connection, since: str) -> set[str]:
    """The request each idempotency record is of."""
    rows = database.execute(
        "SELECT json_extract(value, '$.request') FROM items WHERE partition > ? AND partition < ?"
        " AND json_extract(value, '$.aggregate') > ?",
        (f"{TENANT}/idem/", f"{TENANT}/idem/~", since),
    )
    return {request for (request,) in rows}


_payment = msgspec.json.Decoder(_Payment)
_journal = msgspec.json.Decoder(_StoredJournal)
_event = msgspec.json.Decoder(_Event)
