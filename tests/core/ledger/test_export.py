from __future__ import annotations

import csv
import io
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import beancount.loader
import msgspec
import pytest
from beancount.core import realization
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.clock import HOUR
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.ledger.accounts import account_id
from interlock.core.ledger.export import AccountNames, Format, decimal, export
from interlock.core.ledger.model import RECIPES
from interlock.core.ledger.totals import Totals
from tests.core.ledger.books import DISPUTES, T0, event_of, make, memory, unhurried, write
from tests.counterparts.paths import require

AMOUNTS = {"EUR": 1999, "JPY": 1500, "KWD": 1234, "BHD": 7, "USD": 2**53}
JOURNALS = [
    make(
        number,
        kind,
        AMOUNTS[currency],
        currency=currency,
        at=T0 - number * HOUR,
        tenant=tenant,
        provider=provider,
        excess=3 if kind in DISPUTES else 0,
    )
    for number, (kind, currency, tenant, provider) in enumerate(
        (kind, currency, tenant, provider)
        for kind in RECIPES
        for currency in AMOUNTS
        for tenant, provider in (("ten_a", "simulator_a"), ("ten_a", "simulator-a"), ("ten_b", "3p"))
    )
]


async def text_of(format: Format, tenant: str | None = None, journals=JOURNALS) -> str:
    store = memory()
    await write(store, journals)
    return "".join([piece async for piece in export(store, format, tenant=tenant)])


def balances(tenant: str | None = None) -> dict[tuple[str, str], Decimal]:
    """Exported name and currency -> balance, by the ledger's own arithmetic."""
    names, found = AccountNames(tenant is None), {}
    for journal in JOURNALS:
        if tenant in (None, journal.tenant):
            for code, amount in journal.postings:
                key = names.of(journal.tenant, code)[0], journal.currency
                found[key] = found.get(key, Decimal(0)) + Decimal(amount).scaleb(-EXPONENTS[journal.currency])
    return {key: amount for key, amount in found.items() if amount}


@pytest.mark.parametrize("tenant", [None, "ten_a"])
async def test_hledger_accepts_the_journal_with_the_same_balances(tmp_path: Path, tenant):
    hledger = require("hledger")
    path = tmp_path / "books.journal"
    path.write_text(await text_of(Format.HLEDGER, tenant))
    subprocess.run([hledger, "-f", path, "check", "--strict"], check=True)
    shown = subprocess.run(
        [hledger, "-f", path, "balance", "--flat", "-N", "--layout=tidy", "-O", "csv"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {
        (row["account"], row["commodity"]): Decimal(row["value"])
        for row in csv.DictReader(io.StringIO(shown))
        if Decimal(row["value"] or 0)
    }
    assert found == balances(tenant)


@pytest.mark.parametrize("tenant", [None, "ten_a"])
async def test_beancount_accepts_the_journal_with_the_same_balances(tenant):
    entries, errors, _ = beancount.loader.load_string(await text_of(Format.BEANCOUNT, tenant))
    assert errors == []
    found = {
        (account.account, position.units.currency): position.units.number
        for account in realization.iter_children(realization.realize(entries))
        for position in account.balance
        if position.units.number
    }
    assert found == balances(tenant)


@pytest.mark.parametrize("format", [Format.HLEDGER, Format.BEANCOUNT])
async def test_counterpart_refuses_the_export_of_a_journal_with_one_unit_too_many(tmp_path: Path, format):
    text = (await text_of(format)).replace("19.99 EUR", "20.00 EUR", 1)
    if format is Format.BEANCOUNT:
        assert beancount.loader.load_string(text)[1]
    else:
        path = tmp_path / "books.journal"
        path.write_text(text)
        assert subprocess.run([require("hledger"), "-f", path, "check"], capture_output=True).returncode != 0


async def test_csv_has_one_row_a_posting_and_sums_to_zero():
    rows = list(csv.DictReader(io.StringIO(await text_of(Format.CSV))))
    assert len(rows) == sum(len(journal.postings) for journal in JOURNALS)
    totals = Totals()
    for journal in JOURNALS:
        totals.add(journal)
    for currency, code, sums in totals:
        of_account = [row for row in rows if (row["currency"], row["code"]) == (currency, code)]
        assert sum(int(row["amount_minor"]) for row in of_account) == sums.net
        assert sum(Decimal(row["debit"] or 0) for row in of_account) == Decimal(sums.debits).scaleb(
            -EXPONENTS[currency]
        )
        assert sum(Decimal(row["credit"] or 0) for row in of_account) == Decimal(sums.credits).scaleb(
            -EXPONENTS[currency]
        )
    first = JOURNALS[0]
    assert rows[0] == {
        "journal": first.id,
        "at": "2027-01-15T08:00:00.000Z",
        "day": "2027-01-15",
        "tenant": "ten_a",
        "kind": "capture",
        "payment": first.payment,
        "reference": first.reference,
        "account": account_id("ten_a", "provider_receivable:simulator_a", "EUR"),
        "code": "provider_receivable:simulator_a",
        "currency": "EUR",
        "debit": "19.99",
        "credit": "",
        "amount_minor": "1999",
    }


async def test_export_of_one_tenant_has_nothing_of_another():
    for format in Format:
        text = await text_of(format, "ten_b")
        assert "simulator" not in text.lower()
        assert re.search("3p", text)


async def test_export_of_an_empty_ledger_is_accepted():
    assert (await text_of(Format.CSV, journals=[])).count("\n") == 1
    assert beancount.loader.load_string(await text_of(Format.BEANCOUNT, journals=[]))[1] == []


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (1999, "EUR", "19.99"),
        (5, "EUR", "0.05"),
        (-5, "EUR", "-0.05"),
        (0, "EUR", "0.00"),
        (1500, "JPY", "1500"),
        (-1, "JPY", "-1"),
        (1234, "KWD", "1.234"),
        (-7, "KWD", "-0.007"),
        (2**63 - 1, "KWD", "9223372036854775.807"),
    ],
)
def test_amount_is_shown_with_all_digits_of_its_currency(amount, currency, shown):
    assert decimal(amount, currency) == shown


@unhurried
@given(st.integers(-(2**70), 2**70), st.sampled_from(sorted(EXPONENTS)))
def test_no_amount_loses_a_unit_when_shown(amount, currency):
    assert Decimal(decimal(amount, currency)) == Decimal(amount).scaleb(-EXPONENTS[currency])


@unhurried
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=8), st.sampled_from(["merchant_payable", "provider_receivable:a-b"])),
        max_size=20,
        unique=True,
    )
)
def test_two_accounts_never_share_a_name_and_every_name_is_one_both_programs_take(accounts):
    names = AccountNames(True)
    found = [names.of(tenant, code)[0] for tenant, code in accounts]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"(Assets|Liabilities)(:[A-Z0-9][A-Za-z0-9-]*)+", name) for name in found)
    assert [names.of(tenant, code)[0] for tenant, code in accounts] == found


async def test_event_with_a_broken_journal_stops_the_export():
    store = memory()
    await store.commit([], [msgspec.structs.replace(event_of(make()), facts=msgspec.Raw(b'{"journal":{}}'))])
    with pytest.raises(ValueError):
        [piece async for piece in export(store, Format.CSV)]
