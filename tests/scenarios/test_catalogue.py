"""All 64 scenarios stand in docs/reliability.md with the tests that tell them, or are pending, by name, with their feature."""

import re
from pathlib import Path

import pytest

from tests.architecture import rules

ROOT = Path(__file__).parents[2]
NUMBERS = range(1, 65)
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
FOLDERS = tuple(
    f"tests/{name}" for name in ("scenarios", "core", "contracts", "crash", "providers", "entrypoints", "backends")
)

PENDING = {
    34: "payout_and_a_falling_balance_never_pay_out_what_is_not_there",
    60: "settlement_file_that_comes_twice_or_amended_or_in_part_counts_once",
    61: "fee_that_is_off_by_one_minor_unit_is_a_break",
    62: "chargeback_netted_out_of_a_settlement_is_matched_to_its_dispute",
    63: "one_deposit_of_many_payments_is_matched_to_all_of_them",
    64: "exchange_of_currencies_rounds_without_losing_a_unit",
}
"""Number -> the name its test will have. Payouts and the reconciliation of settlement files are not built yet."""

SECTION = (ROOT / "docs/reliability.md").read_text().partition("## The nasty list")[2].partition("\n## ")[0]
ROWS = {int(number): (what, cell) for number, what, cell in ROW.findall(SECTION)}
TESTS = {
    name.rpartition(".")[2]
    for source in rules.read(ROOT, "tests")
    if str(source.path).startswith(FOLDERS)
    for name, _ in rules.functions(source.tree)
}


def test_every_number_has_one_row():
    assert sorted(ROWS) == list(NUMBERS)
    assert len(ROW.findall(SECTION)) == len(NUMBERS)


@pytest.mark.parametrize("number", [number for number in NUMBERS if number not in PENDING])
def test_scenario_is_told_by_tests_of_its_own(number):
    named = re.findall(r"`(test_\w+)`", ROWS[number][1])
    assert named, "no test is named"
    assert set(named) <= TESTS


@pytest.mark.parametrize("number", PENDING)
def test_scenario_of_a_feature_that_is_not_built_is_pending_by_name(number):
    name = PENDING[number]
    assert f"pending: `{name}`" in ROWS[number][1]
    assert f"test_{name}" not in TESTS, "it is not pending any more"
