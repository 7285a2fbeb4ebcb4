"""To an issuer and back: who is let in as what, and everything that is not an answer to what this browser asked."""

from __future__ import annotations

import random
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.audit import list_audit
from interlock.core.access.model import CLOCK_SKEW
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.desk.operators.errands import arrive, set_out, take_up, way_out
from interlock.core.desk.operators.handlers import (
    add_operator,
    allow,
    recognise,
    sign_in,
    step_up,
)
from interlock.core.desk.operators.model import ERRAND_LASTS, SESSION_IDLE
from interlock.core.desk.operators.ports import AtIssuer, Operators
from interlock.core.desk.operators.records import errand_key
from interlock.core.desk.operators.refusals import Refusals
from interlock.core.desk.operators.roles import Permission, Role
from interlock.core.desk.operators.tries import ERRANDS
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import (
    Forbidden,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from tests.clocks import ManualClock
from tests.core.desk.operators.fake_issuer import ISSUER, TRUSTED, FakeIssuer
from tests.core.desk.operators.quick import HERE, digest_of

BACK = "https://pay.example.com/console/sign-in/callback"
TO = "/console/risk?kind=uncertain"
PASSWORD = "correct horse battery"


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.issuer = FakeIssuer()
        self.store = MemoryStore(self.clock)
        self.desk = Operators(
            self.store,
            self.clock,
            SystemIds(self.clock),
            random.Random(1).randbytes,
            RateLimiter(RateLimit(per_s=0.2, burst=5)),
            digest_of,
            Refusals(),
            AtIssuer(TRUSTED, self.issuer, self.issuer),
        )

    def claims(self, url: str, **changes):
        """As the issuer writes them for whom the browser brought to `url`; None leaves one out."""
        now = self.clock.now() // 1000
        claims = {
            "iss": ISSUER,
            "aud": "desk",
            "sub": "person-1",
            "iat": now,
            "exp": now + 300,
            "nonce": parse_qs(urlsplit(url).query)["nonce"][0],
            "preferred_username": "ada",
            "realm_access": {"roles": ["office", "helpers", "leads"]},
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    async def go(self, *, proving=None, answer=None, **changes):
        """The whole way; the session that is there afterwards."""
        out = await set_out(self.desk, redirect_uri=BACK, to=TO, address=HERE, proving=proving)
        code = self.issuer.give_code(out.url, self.issuer.token(self.claims(out.url, **changes)))
        errand = await take_up(self.desk, state=state_of(out.url), cookie=out.cookie)
        brought = {"code": code, "state": state_of(out.url)} | (answer or {})
        came = await arrive(self.desk, errand, brought, redirect_uri=BACK, who=proving)
        return await recognise(self.desk, came.cookie) if came.cookie else came

    async def trail(self):
        page = await list_audit(self.store, tenant="~platform", day=utc_day(self.clock.now()))
        return [(one.action, one.actor, one.detail.get("reason")) for one in reversed(page.records)]


@pytest.fixture
def world() -> World:
    return World()


def state_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]


async def test_somebody_is_let_in_under_a_name_of_their_own_with_the_highest_role_of_the_claim(world):
    who = await world.go()
    assert who.session.role is Role.LEAD
    assert (who.session.issuer, who.session.subject) == (ISSUER, "person-1")
    assert who.session.operator.startswith("ada (login.example.com ")
    assert await world.trail() == [("operator.signed_in", who.session.operator, None)]


async def test_question_to_the_issuer_is_bound_to_this_browser_and_to_this_time(world):
    one = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    two = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    asked, again = (parse_qs(urlsplit(out.url).query) for out in (one, two))
    assert one.url.startswith(f"{ISSUER}/authorize?")
    assert asked["response_type"] == ["code"] and asked["client_id"] == ["desk"] and asked["redirect_uri"] == [BACK]
    assert asked["scope"] == ["openid profile"] and asked["code_challenge_method"] == ["S256"]
    assert "prompt" not in asked and "max_age" not in asked
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name][0]) >= 43 and asked[name] != again[name]
    assert one.cookie not in one.url and one.cookie != two.cookie
    kept = repr(world.store.__dict__)
    assert one.cookie not in kept and state_of(one.url) not in kept
    assert await world.store.get(errand_key(state_of(one.url))) is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "another"}, "token_nonce"),
        ({"nonce": None}, "token_nonce"),
        ({"nonce": 7}, "token_nonce"),
        ({"iss": "https://login.example.com/realms/other"}, "token_issuer"),
        ({"iss": f"{ISSUER}/"}, "token_issuer"),
        ({"aud": "somebody-else"}, "token_audience"),
        ({"aud": ["somebody-else"]}, "token_audience"),
        ({"aud": None}, "token_audience"),
        ({"aud": ["desk", "other"]}, "token_party"),
        ({"aud": ["desk", "other"], "azp": "other"}, "token_party"),
        ({"azp": "other"}, "token_party"),
        ({"exp": 1_799_999_900}, "token_expired"),
        ({"exp": None}, "token_malformed"),
        ({"exp": "soon"}, "token_malformed"),
        ({"iat": 1_800_000_060}, "token_not_yet_valid"),
        ({"iat": 1_799_999_900}, "token_too_old"),
        ({"iat": None}, "token_malformed"),
        ({"nbf": 1_800_000_060}, "token_not_yet_valid"),
        ({"auth_time": 1_800_000_060}, "token_not_yet_valid"),
        ({"auth_time": "yesterday"}, "token_malformed"),
        ({"sub": None}, "token_malformed"),
        ({"sub": ""}, "token_malformed"),
        ({"sub": "a\0b"}, "token_malformed"),
        ({"sub": "a" * 300}, "token_malformed"),
        ({"at_hash": "another"}, "token_at_hash"),
    ],
)
async def test_token_that_breaks_a_rule_lets_nobody_in_and_is_on_record(world, changes, reason):
    with pytest.raises(Unauthenticated) as refused:
        await world.go(**changes)
    assert refused.value.reason == reason
    assert await world.trail() == [("operator.refused", "somebody (login.example.com)", reason)]


@pytest.mark.parametrize("aud", [["desk"], ["desk", "project-7"]])
async def test_token_for_us_among_others_counts_when_it_says_that_we_asked(world, aud):
    assert (await world.go(aud=aud, azp="desk")).session.role is Role.LEAD


async def test_token_of_an_unknown_key_is_refused_until_the_issuer_publishes_it(world):
    world.issuer.key = "key-2"
    with pytest.raises(Unauthenticated) as refused:
        await world.go()
    assert refused.value.reason == "token_key"
    world.issuer.published.add("key-2")
    assert (await world.go()).session.role is Role.LEAD


@pytest.mark.parametrize(
    "held",
    [
        {"realm_access": {"roles": ["office"]}},
        {"realm_access": {"roles": []}},
        {"realm_access": {"roles": {"leads": True}}},
        {"realm_access": {"roles": [["leads"], 7, None]}},
        {"realm_access": ["leads"]},
        {"realm_access": None},
        {"realm_access": {"roles": ["LEADS"]}},
        {"realm_access": {"roles": "readers leads"}},
        {"realm_access": None, "roles": ["leads"]},
    ],
)
async def test_who_has_no_role_here_is_refused_by_name_and_has_no_session(world, held):
    with pytest.raises(Forbidden) as refused:
        await world.go(**held)
    assert refused.value.reason == "no_role"
    ((action, actor, reason),) = await world.trail()
    assert (action, reason) == ("operator.refused", "no_role") and actor.startswith("ada (login.example.com ")


@pytest.mark.parametrize(
    ("claim", "held", "role"),
    [
        ("groups", {"groups": "leads"}, Role.LEAD),
        ("groups", {"groups": ["readers", "helpers"]}, Role.SUPPORT),
        ("a.b.c", {"a": {"b": {"c": ["readers"]}}}, Role.VIEWER),
        ("https://pay.example.com/roles", {"https://pay.example.com/roles": ["leads"]}, Role.LEAD),
    ],
)
async def test_role_is_found_in_the_claim_that_the_settings_name(world, claim, held, role):
    at = world.desk.at_issuer
    world.desk = world.desk._replace(at_issuer=at._replace(trusted=TRUSTED._replace(role_claim=claim)))
    assert (await world.go(**held)).session.role is role


async def test_answer_works_once(world):
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    assert (await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)).to == TO
    with pytest.raises(Unauthenticated) as refused:
        await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)
    assert refused.value.reason == "no_errand"


async def test_answer_in_another_browser_does_nothing_and_leaves_the_errand_to_its_own(world):
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    theirs = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    state = state_of(out.url)
    for cookie in ("", "0" * 64, theirs.cookie, out.cookie[:-1], state):
        with pytest.raises(Unauthenticated):
            await take_up(world.desk, state=state, cookie=cookie)
    for wrong in ("", state[:-1], "0" * 64, state_of(theirs.url)):
        with pytest.raises(Unauthenticated):
            await take_up(world.desk, state=wrong, cookie=out.cookie)
    assert (await take_up(world.desk, state=state, cookie=out.cookie)).to == TO


async def test_answer_that_took_too_long_is_refused(world):
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    world.clock.advance(ERRAND_LASTS / 1000)
    with pytest.raises(Unauthenticated):
        await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"iss": "https://evil.example"}, "other_issuer"),
        ({"iss": "https://evil.example", "error": "access_denied"}, "other_issuer"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<script>"}, "issuer_refused"),
        ({"code": ""}, "no_code"),
        ({"code": "c" * 10_000}, "no_code"),
        ({"code": "stolen"}, "code_refused"),
    ],
)
async def test_answer_that_brings_no_code_of_this_issuer_lets_nobody_in(world, answer, reason):
    with pytest.raises(Unauthenticated) as refused:
        await world.go(answer=answer)
    assert refused.value.reason == reason and "<script>" not in refused.value.detail
    assert [one[2] for one in await world.trail()] == [reason]


async def test_issuer_that_says_whose_its_answers_are_must_say_it(world):
    world.issuer.names_itself = True
    with pytest.raises(Unauthenticated) as refused:
        await world.go()
    assert refused.value.reason == "other_issuer"
    assert (await world.go(answer={"iss": ISSUER})).session.role is Role.LEAD


async def test_code_that_somebody_else_brought_from_their_own_errand_is_refused(world):
    mine = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    theirs = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    code = world.issuer.give_code(theirs.url, world.issuer.token(world.claims(theirs.url)))
    errand = await take_up(world.desk, state=state_of(mine.url), cookie=mine.cookie)
    with pytest.raises(Unauthenticated) as refused:
        await arrive(world.desk, errand, {"code": code}, redirect_uri=BACK, who=None)
    assert refused.value.reason == "code_refused"


async def test_errand_that_was_begun_at_another_issuer_brings_its_code_to_nobody(world):
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    code = world.issuer.give_code(out.url, world.issuer.token(world.claims(out.url)))
    errand = await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)
    other = AtIssuer(TRUSTED._replace(issuer="https://other.example"), world.issuer, world.issuer)
    with pytest.raises(Unauthenticated) as refused:
        await arrive(world.desk._replace(at_issuer=other), errand, {"code": code}, redirect_uri=BACK, who=None)
    assert refused.value.reason == "other_issuer" and code in world.issuer.codes


async def test_issuer_that_is_down_or_not_set_begins_nothing(world):
    world.issuer.is_down = True
    with pytest.raises(Unavailable):
        await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    with pytest.raises(NotFound):
        await set_out(world.desk._replace(at_issuer=None), redirect_uri=BACK, to=TO, address=HERE)
    assert "~desk/errand" not in repr(world.store.__dict__)


async def test_strangers_who_begin_and_begin_are_slowed_down(world):
    for _ in range(ERRANDS.burst):
        await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    with pytest.raises(RateLimited):
        await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    await set_out(world.desk, redirect_uri=BACK, to=TO, address="192.0.2.2")
    world.clock.advance(1)
    await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)


async def test_strangers_who_begin_and_begin_keep_nobody_from_proving(world):
    who = await world.go()
    for _ in range(ERRANDS.burst):
        with suppress(RateLimited):
            await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    with pytest.raises(RateLimited):
        await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    assert (await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE, proving=who)).cookie


async def test_session_of_an_issuer_ends_like_others_and_when_the_issuer_is_trusted_no_more(world):
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE)
    code = world.issuer.give_code(out.url, world.issuer.token(world.claims(out.url)))
    errand = await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)
    cookie = (await arrive(world.desk, errand, {"code": code}, redirect_uri=BACK, who=None)).cookie
    assert (await recognise(world.desk, cookie)).session.role is Role.LEAD
    at = world.desk.at_issuer
    other = at._replace(trusted=TRUSTED._replace(issuer="https://other.example"))
    for changed in (None, other):
        with pytest.raises(Unauthenticated):
            await recognise(world.desk._replace(at_issuer=changed), cookie)
    world.clock.advance(SESSION_IDLE / 1000)
    with pytest.raises(Unauthenticated):
        await recognise(world.desk, cookie)


async def test_signing_in_by_a_session_at_the_issuer_proves_nothing_but_a_fresh_one_does(world):
    old = await world.go()
    with pytest.raises(Forbidden) as refused:
        allow(world.desk, old, Permission.APPROVE_REPAIR)
    assert refused.value.reason == "step_up"
    hour = world.clock.now() // 1000 - 3_600
    with pytest.raises(Forbidden):
        allow(world.desk, await world.go(auth_time=hour), Permission.APPROVE_REPAIR)
    fresh = await world.go(auth_time=world.clock.now() // 1000 - 60)
    allow(world.desk, fresh, Permission.APPROVE_REPAIR)
    world.clock.advance(9 * 60)
    with pytest.raises(Forbidden):
        allow(world.desk, fresh, Permission.APPROVE_REPAIR)


async def test_proof_asks_the_issuer_for_a_fresh_one_and_is_good_for_ten_minutes(world):
    who = await world.go()
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE, proving=who)
    asked = parse_qs(urlsplit(out.url).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    came = await world.go(proving=who, auth_time=world.clock.now() // 1000)
    assert (came.operator, came.cookie) == (who.session.operator, "")
    found = await world.store.get(who.key)
    session = (await recognise_key(world, who)).session
    assert found is not None and session.is_stepped_up(world.clock.now())
    assert [one[0] for one in await world.trail()] == ["operator.signed_in", "operator.proved"]


async def recognise_key(world, who):
    from interlock.core.desk.operators.records import find_session

    session, version = await find_session(world.store, who.key)
    return who._replace(session=session, version=version)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "no_auth_time"),
        ({"auth_time": 1_800_000_000 - CLOCK_SKEW // 1000 - 1}, "not_fresh"),
        ({"auth_time": 1_800_000_000, "sub": "person-2"}, "other_person"),
        ({"auth_time": 1_800_000_000, "realm_access": {"roles": ["readers"]}}, "role_changed"),
        ({"auth_time": 1_800_000_000, "realm_access": {"roles": []}}, "role_changed"),
    ],
)
async def test_proof_by_somebody_else_or_of_long_ago_proves_nothing(world, changes, reason):
    who = await world.go()
    with pytest.raises(Unauthenticated) as refused:
        await world.go(proving=who, **changes)
    assert refused.value.reason == reason
    assert (await world.trail())[-1][2] == reason
    kept = await world.store.get(who.key)
    if reason == "role_changed":
        assert kept is None, "the session is over"
    else:
        assert not (await recognise_key(world, who)).session.is_stepped_up(world.clock.now())


async def test_proof_for_a_session_that_another_has_taken_over_proves_nothing(world):
    who, other = await world.go(), await world.go(sub="person-2")
    out = await set_out(world.desk, redirect_uri=BACK, to=TO, address=HERE, proving=who)
    claims = world.claims(out.url, auth_time=world.clock.now() // 1000)
    code = world.issuer.give_code(out.url, world.issuer.token(claims))
    errand = await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)
    with pytest.raises(Unauthenticated) as refused:
        await arrive(world.desk, errand, {"code": code}, redirect_uri=BACK, who=other)
    assert refused.value.reason == "session_over"


async def test_password_of_a_local_operator_proves_nothing_for_somebody_of_an_issuer(world):
    await add_operator(world.desk, name="ada", role=Role.LEAD, password=PASSWORD, actor="test")
    who = await world.go()
    with pytest.raises(Forbidden):
        await step_up(world.desk, who, PASSWORD)


async def test_passwords_that_are_switched_off_open_nothing_and_end_their_sessions(world):
    await add_operator(world.desk, name="bob", role=Role.LEAD, password=PASSWORD, actor="test")
    cookie = await sign_in(world.desk, name="bob", password=PASSWORD, address=HERE)
    world.desk = world.desk._replace(passwords=False)
    with pytest.raises(Forbidden) as refused:
        await sign_in(world.desk, name="bob", password=PASSWORD, address=HERE)
    assert refused.value.reason == "passwords_off"
    with pytest.raises(Unauthenticated):
        await recognise(world.desk, cookie)
    assert (await world.go()).session.role is Role.LEAD


async def test_way_out_names_us_and_where_to_come_back_to(world):
    who = await world.go()
    url = await way_out(world.desk, who, back_to="https://pay.example.com/console/sign-in")
    assert url == (
        f"{ISSUER}/logout?client_id=desk&post_logout_redirect_uri=https%3A%2F%2Fpay.example.com%2Fconsole%2Fsign-in"
    )
    world.issuer.has_way_out = False
    assert await way_out(world.desk, who, back_to="x") == ""


async def test_long_return_address_is_forgotten_and_not_kept(world):
    out = await set_out(world.desk, redirect_uri=BACK, to="/console/" + "a" * 3_000, address=HERE)
    assert (await take_up(world.desk, state=state_of(out.url), cookie=out.cookie)).to == ""
