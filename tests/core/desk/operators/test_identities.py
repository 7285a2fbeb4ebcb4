"""Names of people from an issuer: nobody here can have one, and a rule about two people is not led astray by one."""

import re

import pytest

from interlock.core.desk.operators.handlers import add_operator
from interlock.core.desk.operators.identities import (
    is_client,
    may_be_the_same,
    name_at_issuer,
    name_of_client,
    shown_name,
)
from interlock.core.desk.operators.model import OPERATOR_NAME
from interlock.core.desk.operators.roles import Role
from interlock.core.kernel.errors import Invalid
from tests.core.desk.operators.test_operators import desk  # noqa: F401 - a fixture

ISSUER = "https://login.example.com/realms/pay"


def named(*called, issuer=ISSUER, subject="1"):
    return name_at_issuer(called, issuer=issuer, subject=subject)


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        (("ada", "ada@example.com"), "ada"),
        (("ada@example.com",), "ada@example.com"),
        (("Zoë Müller",), "ZoMller"),
        (("", "bo"), "bo"),
        (("光",), "1"),
        (("<script>",), "script"),
        (("root (localhost 0000000000000000)",), "rootlocalhost0000000000000000"),
        (("a" * 500,), "a" * 60),
        (("\r\nset-cookie: x",), "set-cookiex"),
        (("...",), "1"),
    ],
)
def test_name_is_plain_and_short_whatever_the_issuer_says(called, shown):
    name = named(*called)
    assert re.fullmatch(re.escape(shown) + r" \(login\.example\.com [0-9a-f]{16}\)", name)
    assert shown_name(name) == shown


def test_name_of_nothing_that_is_plain_is_still_a_name():
    assert named("光", subject="光").startswith("somebody (login.example.com ")


def test_name_of_an_issuer_cannot_be_a_local_one():
    assert re.fullmatch(OPERATOR_NAME, named("ada")) is None
    assert shown_name("ada") == "ada"


@pytest.mark.parametrize("name", [named("ada"), "", "a b", "é", "-a", "a" * 101, "a\n", "a/b"])
async def test_operator_cannot_be_made_under_such_a_name(desk, name):  # noqa: F811
    with pytest.raises(Invalid):
        await add_operator(desk, name=name, role=Role.ADMIN, password="correct horse battery", actor="test")


def test_subject_and_issuer_decide_who_it_is_and_not_the_name():
    assert named("ada").rpartition(" ")[2] == named("bob").rpartition(" ")[2]
    assert named("ada") != named("ada", subject="2")
    assert named("ada") != named("ada", issuer="https://login.example.com/realms/other")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ada", "ADA ", True),
        ("ada", "bob", False),
        (named("ada"), named("renamed"), True),
        (named("ada"), named("ada", subject="2"), False),
        ("ada", named("ada"), True),
        ("ada", named("Ada@example.com"), True),
        ("ada@example.com", named("ada"), True),
        ("bob", named("ada"), False),
        (named("ada"), named("ada", issuer="https://other.example"), True),
        (named("ada"), named("bob", issuer="https://other.example"), False),
        ("desk-client", named("ada"), False),
    ],
)
def test_two_names_may_be_one_person(one, other, same):
    assert may_be_the_same(one, other) is same
    assert may_be_the_same(other, one) is same


async def test_nobody_can_be_called_like_a_client(desk):  # noqa: F811
    assert is_client(name_of_client("cli_1"))
    assert not any(is_client(named(called)) for called in ("client", "client:cli_1", "client cli_1"))
    with pytest.raises(Invalid):
        await add_operator(desk, name="client:cli_1", role=Role.ADMIN, password="correct horse battery", actor="test")
