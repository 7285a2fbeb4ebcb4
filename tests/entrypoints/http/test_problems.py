"""One table from error classes to statuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import interlock.core.kernel.errors as errors
from interlock.core.desk.queries.model import QueryStopped
from interlock.core.kernel.errors import Fault, InterlockError, Invalid, Rejected, Unavailable
from interlock.entrypoints.http.problems import BY_STATUS, STATUSES, problem_of, row_of


def _classes(root: type[InterlockError]) -> Iterator[type[InterlockError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _classes(kind)


KINDS = [kind for kind in _classes(InterlockError) if kind.__module__ in (errors.__name__, QueryStopped.__module__)]
"""Those of the kernel, and the one that carries what a query had cost."""


def test_every_error_class_has_a_row():
    assert set(STATUSES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_caller_may_do_next_shows_in_the_status(kind):
    status = STATUSES[kind].status
    if issubclass(kind, Rejected):
        assert 400 <= status < 500
    elif issubclass(kind, Unavailable):
        assert status in (409, 429, 503)
    else:
        assert status >= 500


def test_codes_are_not_shared_by_two_classes():
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_class_without_a_row_of_its_own_gets_that_of_the_class_above():
    class Narrow(Invalid):
        code = "narrow"

    assert row_of(Narrow("x")) is STATUSES[Invalid]


def test_problem_carries_the_precise_code_and_every_fault():
    problem = problem_of(Invalid(faults=(Fault("/a", "required", "needed"),), code="precise"), "req_1")
    assert (problem.type, problem.code, problem.detail) == (
        "urn:interlock:problem:invalid_request",
        "precise",
        "needed",
    )
    assert [(fault.pointer, fault.code) for fault in problem.errors] == [("/a", "required")]


def test_fault_of_ours_shows_nothing_of_itself():
    problem = problem_of(InterlockError("the database password is wrong", code="db_password"), "req_1")
    assert (problem.status, problem.code) == (500, "internal")
    assert "password" not in problem.detail


def test_statuses_are_grouped_without_loss():
    assert sum(len(kinds) for kinds in BY_STATUS.values()) == len(STATUSES)
