"""`interlock demo` as a process: the proof holds, and independent accounting programs agree with its ledger to the last unit."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader
from beancount.core import data

from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.ledger.export import AccountNames
from interlock.entrypoints.local import TENANT
from tests.counterparts.paths import require
from tests.entrypoints.cli.processes import interlock

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(300)]
PAYMENTS = 60
PROOF = {
    "everything settled",
    "ledger verified",
    "simulator's books equal, payment by payment",
    "simulator's books equal, in total",
    "every operation effected at most once",
    "nothing lost",
    "lists complete",
    "nothing doubled",
    "every event delivered, in order",
    "no answer outside the contract",
    "the platform stopped when asked to",
}
Balances = dict[tuple[str, str], Decimal]
"""(account name as exported, currency) -> debits less credits, in major units."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def demo(folder) -> dict:
    """What a demo says of itself."""
    ended = interlock("demo", "--data", folder, "--payments", PAYMENTS, "--seed", 7, "--json", timeout_s=240)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def ours(demo, folder) -> Balances:
    """What `ledger balances` says, under the names the exports use."""
    names = AccountNames(False)
    shown = json.loads(interlock("ledger", "balances", "--data", folder, "--json").stdout)["data"]
    return {
        (names.of(TENANT, one["code"])[0], one["currency"]): _major(one["debits"] - one["credits"], one["currency"])
        for one in shown
    }


def test_demo_proves_that_nothing_was_lost_or_doubled(demo):
    assert demo["holds"] is True
    assert {check["what"] for check in demo["proof"]} == PROOF
    assert all(check["holds"] and check["wrong"] == [] for check in demo["proof"])
    assert demo["payments"] == sum(demo["payments_by_status"].values()) == PAYMENTS
    assert demo["unknown_outcomes"] == demo["unknown_outcomes_resolved"] > 0
    assert demo["late_approvals"] == demo["late_approvals_reversed"] > 0
    assert demo["webhooks_taken"] > 3 * PAYMENTS
    assert {"EUR", "JPY", "KWD"} <= demo["payments_by_currency"].keys()


def test_stored_data_of_a_demo_is_sound_on_its_own(demo, folder):
    verified = interlock("ledger", "verify", "--data", folder, "--json")
    assert verified.returncode == 0
    report = json.loads(verified.stdout)
    assert (report["sound"], report["behind"], report["payments"]) == (True, 0, PAYMENTS)
    listed = json.loads(interlock("payments", "list", "--limit", 1000, "--data", folder, "--json").stdout)
    assert Counter(one["status"] for one in listed) == demo["payments_by_status"]


def test_second_demo_on_the_same_data_proves_both(demo, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    ended = interlock("demo", "--data", tmp_path / "data", "--payments", 10, "--seed", 8, "--json", timeout_s=120)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    again = json.loads(ended.stdout)
    assert again["payments"] == 10
    (settled,) = [check for check in again["proof"] if check["what"] == "everything settled"]
    assert settled["counted"] == f"{PAYMENTS + 10} payments"


def test_exported_csv_adds_up_to_the_balances(ours, folder):
    text = _export(folder, "csv")
    names = AccountNames(False)
    found: Balances = {}
    for row in csv.DictReader(io.StringIO(text)):
        account = names.of(TENANT, row["code"])[0], row["currency"]
        amount = Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
        assert amount == _major(int(row["amount_minor"]), row["currency"])
        found[account] = found.get(account, Decimal(0)) + amount
    assert found == ours


def test_hledger_checks_the_exported_journal_and_has_the_same_balances(ours, folder, tmp_path):
    hledger = require("hledger")
    journal = tmp_path / "demo.journal"
    journal.write_text(_export(folder, "hledger"))
    _run(hledger, "-f", journal, "check", "--strict", "ordereddates")
    rows = csv.reader(
        io.StringIO(_run(hledger, "-f", journal, "bal", "--flat", "--empty", "--layout", "bare", "-O", "csv"))
    )
    next(rows)
    found = {(account, currency): Decimal(amount) for account, currency, amount in rows if account != "total"}
    assert _without_zeros(found) == _without_zeros(ours)
    assert {"EUR", "JPY", "KWD"} <= {currency for _, currency in found}


def test_bean_check_accepts_the_exported_journal_and_beancount_has_the_same_balances(ours, folder, tmp_path):
    journal = tmp_path / "demo.beancount"
    journal.write_text(_export(folder, "beancount"))
    _run(Path(sys.executable).with_name("bean-check"), journal)
    entries, errors, _ = loader.load_file(str(journal))
    assert errors == []
    found: Balances = {}
    for entry in data.filter_txns(entries):
        for posting in entry.postings:
            account = posting.account, posting.units.currency
            found[account] = found.get(account, Decimal(0)) + posting.units.number
    assert found == ours


def _export(folder: Path, format: str) -> str:
    ended = interlock("ledger", "export", "--format", format, "--tenant", TENANT, "--data", folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def _run(program: Path, *arguments: object) -> str:
    ended = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout


def _major(amount: int, currency: str) -> Decimal:
    return Decimal(amount).scaleb(-EXPONENTS[currency])


def _without_zeros(balances: Balances) -> Balances:
    return {account: amount for account, amount in balances.items() if amount}
