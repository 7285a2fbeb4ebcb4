from __future__ import annotations

import pytest

from interlock.core.kernel.ids import is_id
from interlock.core.ledger.accounts import (
    CHART,
    AccountType,
    Side,
    account_id,
    line_of,
    line_of_id,
    provider_receivable,
)


def test_account_ids_are_the_same_for_ever():
    # Written down: stored read models and merchants' own books refer to them.
    assert account_id("ten_a", "merchant_payable", "EUR") == "acc_mbj81nf4k0h60me4tjz9p85rac"
    assert account_id("ten_a", "provider_receivable:stripe", "JPY") == "acc_pg3f4few27m0rpg3aye6wzcr0d"


def test_account_ids_differ_by_tenant_code_and_currency():
    codes = [code for code, line in CHART.items() if not line.per_provider] + ["provider_receivable:a"]
    found = {account_id(t, c, cur) for t in ("ten_a", "ten_b") for c in codes for cur in ("EUR", "JPY")}
    assert len(found) == 2 * len(codes) * 2
    assert all(is_id(one, "acc") for one in found)


def test_account_id_says_its_line_without_a_lookup():
    assert {line_of_id(account_id("ten_a", code, "EUR")) for code in CHART if code != "provider_receivable"} == {
        line for line in CHART.values() if not line.per_provider
    }
    assert line_of_id("acc_0000") is None
    assert line_of_id("acc_") is None


@pytest.mark.parametrize(
    "code",
    [
        "",
        "cash",
        "provider_receivable",
        "provider_receivable:",
        "provider_receivable:A",
        "provider_receivable:a:b",
        "fees:a",
    ],
)
def test_code_outside_the_chart_is_refused(code):
    with pytest.raises(ValueError, match="chart of accounts"):
        line_of(code)


@pytest.mark.parametrize("provider", ["", "Stripe", "a b", "a\nb", "a:b", "-a", "x" * 64])
def test_provider_name_that_would_not_fit_a_code_is_refused(provider):
    with pytest.raises(ValueError, match="chart of accounts"):
        provider_receivable(provider)


def test_unknown_currency_has_no_account():
    with pytest.raises(ValueError, match="ISO 4217"):
        account_id("ten_a", "fees", "XXX")


def test_normal_side_follows_from_type():
    for line in CHART.values():
        assert (line.normal_side is Side.CREDIT) == (line.type is AccountType.LIABILITY), line.code
