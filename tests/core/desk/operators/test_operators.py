"""Signing in, staying in, and who may."""

import random
from itertools import pairwise

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.audit import list_audit
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.desk.operators.handlers import (
    add_operator,
    allow,
    disable_operator,
    recognise,
    sign_in,
    sign_out,
    step_up,
)
from interlock.core.desk.operators.model import SESSION_IDLE, SESSION_MAX, STEPPED_UP
from interlock.core.desk.operators.ports import Operators
from interlock.core.desk.operators.records import session_key
from interlock.core.desk.operators.refusals import Refusals
from interlock.core.desk.operators.roles import ALLOWED, DANGEROUS, Permission, Role, require
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Forbidden, Invalid, RateLimited, Unauthenticated
from tests.clocks import ManualClock
from tests.core.desk.operators.quick import HERE, digest_of

PASSWORD = "correct horse battery"


@pytest.fixture
def desk() -> Operators:
    clock = ManualClock()
    dice = random.Random(1)
    return Operators(
        MemoryStore(clock),
        clock,
        SystemIds(clock),
        dice.randbytes,
        RateLimiter(RateLimit(per_s=0.2, burst=5)),
        digest_of,
        Refusals(),
    )


async def ada(desk: Operators, role: Role = Role.LEAD) -> str:
    await add_operator(desk, name="ada", role=role, password=PASSWORD, actor="test")
    return await sign_in(desk, name="Ada", password=PASSWORD, address=HERE)


async def test_right_password_opens_a_session_that_is_recognised(desk):
    cookie = await ada(desk)
    who = await recognise(desk, cookie)
    assert (who.session.operator, who.session.role) == ("ada", Role.LEAD)


async def test_cookie_stands_nowhere_in_the_store(desk):
    cookie = await ada(desk)
    assert cookie not in repr(desk.store.__dict__)
    assert await desk.store.get(session_key(cookie)) is not None


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("eve", PASSWORD), ("", ""), ("a\0", PASSWORD), ("é" * 99, "x")]
)
async def test_wrong_name_and_wrong_password_are_told_apart_by_nobody(desk, name, password):
    await ada(desk)
    with pytest.raises(Unauthenticated) as caught:
        await sign_in(desk, name=name, password=password, address=HERE)
    assert caught.value.reason == "bad_credentials"


async def test_guessing_is_slowed_down_for_that_name_alone(desk):
    await ada(desk)
    await add_operator(desk, name="bob", role=Role.VIEWER, password=PASSWORD, actor="test")
    for _ in range(4):
        with pytest.raises(Unauthenticated):
            await sign_in(desk, name="ada", password="wrong", address=HERE)
    with pytest.raises(RateLimited):
        await sign_in(desk, name="ADA", password=PASSWORD, address=HERE)
    assert await sign_in(desk, name="bob", password=PASSWORD, address=HERE)
    desk.clock.advance(6)
    assert await sign_in(desk, name="ada", password=PASSWORD, address=HERE)


async def test_session_ends_after_a_shift_and_earlier_when_nobody_is_there(desk):
    cookie = await ada(desk)
    desk.clock.advance(SESSION_IDLE / 1000)
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)
    desk.clock.advance(30)
    cookie = await sign_in(desk, name="ada", password=PASSWORD, address=HERE)
    for _ in range(SESSION_MAX // (SESSION_IDLE // 2) - 1):
        desk.clock.advance(SESSION_IDLE / 2000)
        await recognise(desk, cookie)
    desk.clock.advance(SESSION_IDLE / 2000)
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)


async def test_signed_out_and_shut_out_sessions_are_over(desk):
    cookie = await ada(desk)
    await sign_out(desk, await recognise(desk, cookie))
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)
    again = await sign_in(desk, name="ada", password=PASSWORD, address=HERE)
    await disable_operator(desk, name="ada", actor="root")
    with pytest.raises(Unauthenticated):
        await recognise(desk, again)


async def test_new_role_ends_sessions_of_the_old_one(desk):
    cookie = await ada(desk)
    await add_operator(desk, name="ada", role=Role.VIEWER, password=PASSWORD, actor="root", replace_existing=True)
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)


async def test_new_password_ends_sessions_of_the_old_one_whatever_the_clock_says(desk):
    cookie = await ada(desk)
    who = await recognise(desk, cookie)
    await add_operator(desk, name="ada", role=Role.LEAD, password=PASSWORD + "!", actor="root", replace_existing=True)
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)
    with pytest.raises(Unauthenticated) as caught:
        await step_up(desk, who, PASSWORD + "!")
    assert caught.value.reason == "session_over"
    assert await recognise(desk, await sign_in(desk, name="ada", password=PASSWORD + "!", address=HERE))


async def test_who_is_added_again_begins_without_sessions(desk):
    cookie = await ada(desk)
    await disable_operator(desk, name="ada", actor="root")
    desk.clock.advance(1)
    await add_operator(desk, name="ada", role=Role.LEAD, password=PASSWORD, actor="root", replace_existing=True)
    with pytest.raises(Unauthenticated):
        await recognise(desk, cookie)


async def test_dangerous_things_need_proof_that_is_fresh(desk):
    cookie = await ada(desk)
    allow(desk, await recognise(desk, cookie), Permission.APPROVE_REPAIR)
    desk.clock.advance(STEPPED_UP / 1000)
    with pytest.raises(Forbidden) as caught:
        allow(desk, await recognise(desk, cookie), Permission.APPROVE_REPAIR)
    assert caught.value.reason == "step_up"
    with pytest.raises(Unauthenticated):
        await step_up(desk, await recognise(desk, cookie), "wrong")
    await step_up(desk, await recognise(desk, cookie), PASSWORD)
    allow(desk, await recognise(desk, cookie), Permission.APPROVE_REPAIR)


async def test_who_may_what_is_the_table_and_roles_only_grow():
    roles = list(Role)
    for lower, higher in pairwise(roles):
        assert ALLOWED[lower] < ALLOWED[higher]
    assert ALLOWED[Role.ADMIN] == set(Permission)
    assert ALLOWED[Role.ADMIN] - ALLOWED[Role.SUPPORT] >= DANGEROUS
    for role in roles:
        for permission in Permission:
            if permission in ALLOWED[role]:
                require(role, permission)
            else:
                with pytest.raises(Forbidden):
                    require(role, permission)


async def test_short_password_and_taken_name_are_refused_and_nothing_changes(desk):
    cookie = await ada(desk)
    with pytest.raises(Invalid):
        await add_operator(desk, name="bob", role=Role.VIEWER, password="short", actor="x")
    with pytest.raises(Invalid):
        await add_operator(desk, name="ADA", role=Role.ADMIN, password=PASSWORD, actor="x")
    assert (await recognise(desk, cookie)).session.role is Role.LEAD


async def test_everything_that_changes_who_may_is_in_the_trail(desk):
    await ada(desk)
    await disable_operator(desk, name="ada", actor="root")
    page = await list_audit(desk.store, tenant="~platform", day=utc_day(desk.clock.now()))
    assert [(one.action, one.actor) for one in reversed(page.records)] == [
        ("operator.created", "test"), ("operator.signed_in", "ada"), ("operator.disabled", "root"),
    ]  # fmt: skip
    assert PASSWORD not in repr(page)
