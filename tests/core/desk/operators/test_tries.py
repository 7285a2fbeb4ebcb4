"""Who guesses shuts out themselves: not others, not who is signed in, and they fill no audit trail."""

from __future__ import annotations

import pytest

from interlock.core.access.audit import list_audit
from interlock.core.desk.operators.handlers import add_operator, recognise, sign_in, step_up
from interlock.core.desk.operators.refusals import NAMES_MAX, ON_RECORD, Refusals
from interlock.core.desk.operators.roles import Role
from interlock.core.desk.operators.tries import FROM_ADDRESS, OF_NAME, place_of
from interlock.core.kernel.clock import HOUR, utc_day
from interlock.core.kernel.errors import RateLimited, Unauthenticated
from tests.core.desk.operators.quick import HERE
from tests.core.desk.operators.test_operators import PASSWORD, ada, desk  # noqa: F401 - one is a fixture

ELSEWHERE = "198.51.100.7"


async def guess(desk, *, name="ada", address=ELSEWHERE, password="wrong"):  # noqa: F811
    """What it is refused with."""
    with pytest.raises((Unauthenticated, RateLimited)) as caught:
        await sign_in(desk, name=name, password=password, address=address)
    return caught.value.reason


async def refusals(desk):  # noqa: F811
    page = await list_audit(desk.store, tenant="~platform", day=utc_day(desk.clock.now()), limit=1_000)
    return [
        (one.actor, one.detail["counted_since"]) for one in reversed(page.records) if one.action == "operator.refused"
    ]


async def test_who_guesses_without_end_keeps_nobody_from_signing_in_or_from_proving_elsewhere(desk):  # noqa: F811
    who = await recognise(desk, await ada(desk))
    for _ in range(120):
        await guess(desk)
        desk.clock.advance(1)
    await guess(desk)
    assert await guess(desk, password=PASSWORD) == "rate_limited"
    assert await sign_in(desk, name="ada", password=PASSWORD, address=HERE)
    await step_up(desk, who, PASSWORD)


async def test_who_guesses_at_a_proof_is_slowed_down_in_that_session_alone(desk):  # noqa: F811
    first = await recognise(desk, await ada(desk))
    second = await recognise(desk, await sign_in(desk, name="ada", password=PASSWORD, address=HERE))
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await step_up(desk, first, "wrong")
    with pytest.raises(RateLimited):
        await step_up(desk, first, PASSWORD)
    await step_up(desk, second, PASSWORD)
    assert await sign_in(desk, name="ada", password=PASSWORD, address=HERE)


async def test_names_that_change_with_every_try_are_slowed_down_by_their_address(desk):  # noqa: F811
    hashed = []

    async def counted(password, salt):
        hashed.append(salt)
        return ""

    changed = desk._replace(digest_of=counted)
    reasons = [await guess(changed, name=f"nobody-{number}") for number in range(FROM_ADDRESS.burst + 5)]
    assert reasons == ["bad_credentials"] * FROM_ADDRESS.burst + ["rate_limited"] * 5
    assert len(hashed) == FROM_ADDRESS.burst
    assert await guess(changed, name="nobody", address=HERE) == "bad_credentials"


async def test_name_that_many_addresses_guess_at_is_slowed_down_everywhere(desk):  # noqa: F811
    await ada(desk)
    reasons = [await guess(desk, address=f"198.51.100.{number}") for number in range(OF_NAME.burst)]
    assert reasons == ["bad_credentials"] * (OF_NAME.burst - 1) + ["rate_limited"]


async def test_name_that_looks_like_somebody_elses_bucket_is_none(desk):  # noqa: F811
    await ada(desk)
    for number in range(10):
        for name in (f"ada/{HERE}", f"{HERE}/ada"):
            await guess(desk, name=name, address=f"198.51.100.{number}")
    for _ in range(4):
        assert await sign_in(desk, name="ada", password=PASSWORD, address=HERE)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_address_says_who_tries_as_far_as_it_can(address, place):
    assert place_of(address) == place


async def test_refusals_of_a_name_are_on_record_once_an_hour_with_how_many_there_were(desk):  # noqa: F811
    await ada(desk)
    for _ in range(4):
        await guess(desk, address=HERE)
    await guess(desk, name="nobody")
    await guess(desk, name="eve")
    assert await refusals(desk) == [("ada", 0), ("somebody", 0)]
    desk.clock.advance(3_600)
    await guess(desk)
    await guess(desk, name="mallory")
    assert await refusals(desk) == [("ada", 0), ("somebody", 0), ("ada", 3), ("somebody", 1)]


async def test_refusals_of_many_names_are_on_record_no_more_than_anybody_reads(desk):  # noqa: F811
    for number in range(ON_RECORD.burst + 20):
        name = f"op-{number}"
        await add_operator(desk, name=name, role=Role.VIEWER, password=PASSWORD, actor="test")
        await guess(desk, name=name, address=f"198.51.100.{number}")
    assert len(await refusals(desk)) == ON_RECORD.burst


def test_refusals_remember_so_many_names_and_forget_who_was_refused_longest_ago():
    refusals = Refusals()
    for number in range(NAMES_MAX + 1):
        assert refusals.count(f"name-{number}", 0) == 0
    assert refusals.count(f"name-{NAMES_MAX}", HOUR - 1) is None
    assert refusals.count("name-0", HOUR - 1) == 0
