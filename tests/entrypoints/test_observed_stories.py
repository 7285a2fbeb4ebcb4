"""Log lines and spans in a payment's story, at a real platform with a simulated provider beside it."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from interlock.backends.sqlite.observations import NOT_KEPT
from interlock.core.kernel.errors import StoreUnavailable
from interlock.entrypoints.explain import explain_with_observations
from tests.entrypoints.api.beside import CARD, beside
from tests.running import TENANT

SALE = {"amount": 1999, "currency": "EUR", "payment_method": CARD, "reference": "order-17", "customer": "cus_9"}


async def story_of(world, payment_id: str, holds) -> dict:
    """As the desk tells it, once it has heard and `holds(observations)`."""
    async with asyncio.timeout(20):
        while True:
            status, _, story = await world.ask_whole("GET", f"/v1/desk/payments/{payment_id}")
            if status == 200 and holds(story["observations"]):
                return story
            await asyncio.sleep(0.05)


def said(observations, event: str) -> bool:
    return event in {line["event"] for line in observations["lines"]}


def spans_of(observations, name: str) -> list[dict]:
    return [span for span in observations["spans"] if span["name"] == name]


async def test_payment_shows_the_request_the_call_to_its_provider_and_its_lines_in_one_trace(tmp_path):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        story = await story_of(
            world, payment["id"], lambda seen: said(seen, "payment.succeeded") and spans_of(seen, "http.request")
        )
        seen = story["observations"]
        (request,), (call,) = spans_of(seen, "http.request"), spans_of(seen, "provider.call")
        assert call["attributes"]["outcome"] == "approved"
        assert call["attributes"]["operation"] == "authorize"
        assert call["attributes"]["payment_id"] == payment["id"]
        assert (call["trace"], call["parent"]) == (request["trace"], request["span"])
        assert (request["parent"], request["attributes"]["status"]) == ("", 201)
        assert request["start_us"] <= call["start_us"]
        assert 0 < call["duration_us"] < request["duration_us"]
        lines = [line for line in seen["lines"] if line["event"].startswith("payment.")]
        assert {line["event"] for line in lines} == {"payment.created", "payment.succeeded"}
        assert {line["trace"] for line in lines} == {request["trace"]}
        assert (seen["more"], seen["note"]) == (False, "")
        assert "tok_approve" not in str(seen) and "cus_9" not in str(seen) and "order-17" not in str(seen)


async def test_payment_that_no_provider_heard_of_shows_the_request_that_made_it(tmp_path):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE | {"confirm": False}, key="later")
        seen = (await story_of(world, payment["id"], lambda seen: spans_of(seen, "http.request")))["observations"]
        assert [span["name"] for span in seen["spans"]] == ["http.request"]


async def test_refused_request_is_in_the_story_and_one_that_only_looks_is_not(tmp_path):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        await world.ask_whole("GET", f"/v1/payments/{payment['id']}")
        status, _, _ = await world.ask_whole("POST", f"/v1/payments/{payment['id']}/cancel", {}, key="cancel")
        assert status == 409
        story = await story_of(world, payment["id"], lambda seen: len(spans_of(seen, "http.request")) > 1)
        requests = [
            (one["attributes"]["method"], one["error"]) for one in spans_of(story["observations"], "http.request")
        ]
        assert requests == [("POST", ""), ("POST", "Conflict")]


async def test_merchants_own_timeline_has_no_log_of_the_platform(tmp_path):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        _, _, story = await world.ask_whole("GET", f"/v1/payments/{payment['id']}/timeline")
        assert story["state"] == "succeeded"
        assert "observations" not in story


class Failing:
    async def of_payment(self, payment_id, **_):
        raise StoreUnavailable("the disk is gone")


class Hanging:
    async def of_payment(self, payment_id, **_):
        await asyncio.Event().wait()


async def test_story_is_whole_where_lines_cannot_be_read_and_says_so(tmp_path):
    async with beside(tmp_path) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        platform = world.node.platform
        whole = await explain_with_observations(platform, TENANT, payment["id"])
        for observations, note in ((Failing(), "could not be read."), (Hanging(), "could not be read in time.")):
            broken = platform._replace(
                storage=platform.storage._replace(observations=observations, observations_timeout_s=0.01)
            )
            story = await explain_with_observations(broken, TENANT, payment["id"])
            assert story.observations.note == f"Log lines {note}"
            assert (story.observations.lines, story.observations.spans) == ([], [])
            assert replace(story, observations=whole.observations) == whole


async def test_nothing_is_kept_where_no_days_are(tmp_path):
    async with beside(tmp_path, observations_days=0) as world:
        _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        seen = (await story_of(world, payment["id"], lambda seen: True))["observations"]
        assert (seen["lines"], seen["spans"], seen["note"]) == ([], [], NOT_KEPT)
    assert not (tmp_path / "observations.db").exists()
