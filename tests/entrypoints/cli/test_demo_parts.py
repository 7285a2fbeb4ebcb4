"""The demo's stories, its fault plan and its webhook endpoint."""

import json
import time
from collections import Counter
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest
from standardwebhooks import Webhook

from interlock.entrypoints.children import SIMULATORS
from interlock.entrypoints.cli.demo.command import fault_plan
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.stories import FIRST_PROVIDER, RECIPES, stories
from interlock.simulator.behaviours import AT, TOKENS
from interlock.simulator.control import read_plan
from interlock.simulator.model import Kind

SECRET = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"


def test_same_seed_tells_the_same_stories_and_another_seed_others():
    told = stories(120, seed=7, run="a")
    assert [story._replace(reference="", body={}) for story in stories(120, seed=7, run="b")] == [
        story._replace(reference="", body={}) for story in told
    ]
    assert [story.body for story in stories(120, seed=7, run="a")] == [story.body for story in told]
    assert [story.recipe for story in stories(120, seed=8, run="a")] != [story.recipe for story in told]
    assert len({story.reference for story in told}) == 120


def test_every_recipe_is_told_once_before_any_is_told_twice():
    assert Counter(story.recipe for story in stories(len(RECIPES), seed=1, run="a")) == Counter(RECIPES)
    assert len(set(stories_of(10))) == 10


def stories_of(count: int):
    return [story.recipe for story in stories(count, seed=1, run="a")]


def test_recipes_use_every_token_of_the_simulator():
    assert {recipe.token.partition(AT)[0] for recipe in RECIPES} == set(TOKENS)
    assert SIMULATORS[0] == FIRST_PROVIDER


def test_traffic_has_currencies_without_and_with_three_decimals():
    currencies = {story.body["currency"] for story in stories(200, seed=1, run="a")}
    assert {"EUR", "JPY", "KWD"} <= currencies


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_fault_plan_is_one_the_simulator_takes_and_adds_up(rate):
    plan = read_plan(msgspec.json.encode(fault_plan(rate, seed=3)))
    for kind in (Kind.CHARGE, Kind.CAPTURE, Kind.VOID, Kind.REFUND):
        assert sum(plan.rates_of(kind).values()) == pytest.approx(rate)
    assert sum(plan.rates_of(Kind.LOOKUP).values()) == pytest.approx(rate / 2)


def message(event: str, *, version: int = 1, secret: str = SECRET, at: int | None = None):
    """Headers and body as the standard's own library makes them."""
    body = json.dumps({"id": event, "data": {"payment": {"id": "pay_1", "version": version}}})
    timestamp = at if at is not None else int(time.time())
    signature = Webhook(secret).sign(event, datetime.fromtimestamp(timestamp, UTC), body)
    return {"webhook-id": event, "webhook-timestamp": str(timestamp), "webhook-signature": signature}, body


@pytest.fixture
async def hook():
    async with Hook(seed=1) as serving:
        serving.secret = SECRET
        serving.refused_share = 0.0
        yield serving


async def send(hook: Hook, headers: dict, body: str) -> int:
    async with aiohttp.ClientSession() as session, session.post(hook.url, data=body, headers=headers) as answer:
        return answer.status


async def test_signed_webhook_is_taken_and_counted_once(hook):
    sent = message("evt_1")
    assert [await send(hook, *sent), await send(hook, *sent)] == [204, 204]
    assert (hook.accepted, hook.repeated, len(hook.arrivals["pay_1"])) == (2, 1, 1)
    assert hook.arrivals["pay_1"][0].version == 1


@pytest.mark.parametrize(
    "forgery",
    [
        lambda: message("evt_1", secret="whsec_" + "QUFB" * 8),
        lambda: message("evt_1", at=int(time.time()) - 3_600),
        lambda: (message("evt_1")[0], message("evt_1", version=2)[1]),
        lambda: ({**message("evt_1")[0], "webhook-id": "evt_2"}, message("evt_1")[1]),
        lambda: ({**message("evt_1")[0], "webhook-signature": "v1,"}, message("evt_1")[1]),
        lambda: ({**message("evt_1")[0], "webhook-timestamp": "soon"}, message("evt_1")[1]),
        lambda: ({}, message("evt_1")[1]),
    ],
)
async def test_forged_webhook_is_refused_and_remembered(hook, forgery):
    assert await send(hook, *forgery()) == 401
    assert len(hook.forged) == 1
    assert (hook.accepted, hook.arrivals) == (0, {})


async def test_endpoint_refuses_some_events_once_and_takes_them_then(hook):
    hook.refused_share = 1.0
    sent = message("evt_1")
    assert [await send(hook, *sent), await send(hook, *sent)] == [503, 204]
    assert (hook.refused, hook.accepted) == (1, 1)
