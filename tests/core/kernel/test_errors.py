"""The error tree says what the caller may do next, and its drawing is the tree."""

from __future__ import annotations

import re

import pytest

from interlock.core.kernel import errors
from interlock.core.kernel.errors import (
    Fault,
    Forbidden,
    InterlockError,
    Invalid,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    StoreUnavailable,
    Unavailable,
    WriteConflict,
)


def descendants(root: type[InterlockError]) -> list[type[InterlockError]]:
    """Those that this module defines; other modules may add their own below."""
    below = [one for one in root.__subclasses__() if one.__module__ == errors.__name__]
    return [*below, *(deeper for one in below for deeper in descendants(one))]


def test_every_error_belongs_to_exactly_one_of_three_branches() -> None:
    branches = (Rejected, Unavailable, OutcomeUnknown)
    for error in descendants(InterlockError):
        assert sum(issubclass(error, branch) for branch in branches) == 1, error


def test_drawing_at_the_head_of_the_module_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above = ["InterlockError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│ ]*)[├└]── (\w+)", line)
        if found is None:
            continue
        depth = 1 + len(found[1]) // 4
        del above[depth:]
        drawn[found[2]] = above[-1]
        above.append(found[2])
    assert drawn == {error.__name__: error.__bases__[0].__name__ for error in descendants(InterlockError)}


def test_codes_are_stable_words_of_which_no_two_errors_share_one() -> None:
    everything: list[type[InterlockError]] = [InterlockError, *descendants(InterlockError)]
    codes = [error.code for error in everything]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_reason_is_the_classs_code_unless_a_more_precise_one_was_given() -> None:
    assert errors.Conflict("no").reason == "conflict"
    assert errors.Conflict("no", code="payment_not_capturable").reason == "payment_not_capturable"
    assert errors.Conflict("no", code="payment_not_capturable").code == "conflict"


def test_text_of_an_error_is_its_detail_or_else_its_code() -> None:
    assert str(errors.NotFound("no payment pay_1")) == "no payment pay_1"
    assert str(errors.NotFound()) == "not_found"


def test_invalid_carries_its_faults_and_speaks_of_the_first() -> None:
    faults = (Fault("/amount", "required", "amount is missing"), Fault("/currency", "unknown", "no such currency"))
    error = Invalid(faults=faults)
    assert error.faults == faults
    assert error.detail == "amount is missing"
    assert Invalid("all wrong", faults=faults).detail == "all wrong"
    assert Invalid().faults == ()


def test_forbidden_names_the_missing_scope() -> None:
    assert Forbidden("no", scope="payments:write").scope == "payments:write"


@pytest.mark.parametrize("error", [Unavailable, RateLimited, StoreUnavailable])
def test_unavailable_says_when_to_come_back(error: type[Unavailable]) -> None:
    assert error("busy").retry_after_s == 1
    assert error("busy", retry_after_s=30).retry_after_s == 30


def test_write_conflict_names_the_item_and_may_be_repeated() -> None:
    error = WriteConflict(("ten_a/pay/pay_1", "state"))
    assert error.key == ("ten_a/pay/pay_1", "state")
    assert str(error) == "ten_a/pay/pay_1/state was written by someone else"
    assert isinstance(error, Unavailable)
