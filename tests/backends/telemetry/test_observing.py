"""What of lines and spans is kept with which payment."""

import io
import json

import pytest

from interlock.backends.memory.observations import MemoryObservations
from interlock.backends.telemetry import PlatformTelemetry
from interlock.backends.telemetry.observing import PAYMENTS_MAX, TEXT_MAX, WAITING_MAX
from interlock.backends.telemetry.vocabulary import SPAN_ATTRIBUTES

ONE, OTHER = "pay_01m8bxmw44kkwk44k1efzqrhkx", "pay_01m8bxmw44kkwk44k1efzqrhky"
FOREVER = {"since": 0, "until": 2**50, "limit": 1_000}


class World:
    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self.kept = MemoryObservations()
        self.telemetry = PlatformTelemetry(stream=self.stream, observer=self.kept)

    async def lines(self, payment=ONE):
        return [line.event for line in (await self.kept.of_payment(payment, **FOREVER)).lines]

    async def spans(self, payment=ONE):
        return list((await self.kept.of_payment(payment, **FOREVER)).spans)

    async def names(self, payment=ONE):
        return sorted(span.name for span in await self.spans(payment))


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("field", ["payment_id", "aggregate"])
async def test_line_that_names_a_payment_is_kept_with_it_as_it_was_written(world, field):
    world.telemetry.warning("payment.late_approval", **{field: ONE}, attempts=2, reason=None)
    (line,) = (await world.kept.of_payment(ONE, **FOREVER)).lines
    written = json.loads(world.stream.getvalue())
    assert (line.level, line.event, line.trace) == ("warning", "payment.late_approval", "")
    assert line.fields == {field: ONE, "attempts": 2}
    assert written == {"timestamp": written["timestamp"], "level": "warning", "event": "payment.late_approval",
                       field: ONE, "attempts": 2, "reason": None, "trace_id": ""}  # fmt: skip


async def test_what_is_not_in_the_vocabulary_is_kept_nowhere(world):
    with world.telemetry.span("provider.call", payment_id=ONE, card_number="4242424242424242") as span:
        world.telemetry.info("payment.authorized", payment_id=ONE, token="tok_approve")
        span.set(secret="hunter2", outcome="approved")
    found = str(await world.kept.of_payment(ONE, **FOREVER))
    assert "approved" in found
    assert not [word for word in ("4242", "tok_approve", "hunter2") if word in found]
    assert b"interlock_telemetry_dropped_total 3.0" in world.telemetry.exposition()


def test_vocabulary_has_nothing_that_a_role_may_not_see():
    assert not SPAN_ATTRIBUTES & {"customer", "reference", "last4", "email", "token", "body", "headers"}


async def test_line_about_nothing_in_particular_is_kept_nowhere(world):
    world.telemetry.info("worker.started")
    with world.telemetry.span("http.request"):
        world.telemetry.info("platform.started")
    assert (world.kept._lines, world.kept._spans) == ([], [])


async def test_line_below_the_level_is_not_kept(world):
    telemetry = PlatformTelemetry(stream=world.stream, level="warning", observer=world.kept)
    telemetry.info("payment.authorized", payment_id=ONE)
    assert await world.lines() == []


async def test_what_was_said_before_the_payment_was_known_is_kept_with_it(world):
    with world.telemetry.span("http.request"):
        world.telemetry.info("first")
        with world.telemetry.span("store.read"):
            world.telemetry.info("second")
        world.telemetry.about(ONE)
        world.telemetry.info("third")
    assert await world.lines() == ["first", "second", "third"]
    assert await world.names() == ["http.request", "store.read"]


async def test_inner_work_tells_the_outer_one_which_payment_it_was_about(world):
    with world.telemetry.span("http.request") as outer, world.telemetry.span("provider.call", payment_id=ONE) as inner:
        assert inner.traceparent[3:35] == outer.traceparent[3:35]
    request, call = await world.spans()
    assert (request.name, call.name) == ("http.request", "provider.call")
    assert (call.trace, call.parent, request.parent) == (request.trace, request.span, "")
    assert call.start_us >= request.start_us
    assert call.duration_us <= request.duration_us


async def test_inner_work_is_about_the_payment_of_the_outer_one(world):
    with world.telemetry.span("http.request"):
        world.telemetry.about(ONE)
        with world.telemetry.span("store.read"):
            world.telemetry.info("inside")
    assert await world.names() == ["http.request", "store.read"]
    assert await world.lines() == ["inside"]


async def test_work_on_two_payments_is_in_both_stories_and_their_lines_in_one_each(world):
    with world.telemetry.span("http.request"):
        world.telemetry.about(ONE)
        world.telemetry.info("of.one")
        world.telemetry.about(OTHER)
        world.telemetry.info("of.other")
    assert (await world.names(ONE), await world.names(OTHER)) == (["http.request"], ["http.request"])
    assert (await world.lines(ONE), await world.lines(OTHER)) == (["of.one"], ["of.other"])


async def test_work_under_somebody_elses_trace_is_part_of_it(world):
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with world.telemetry.span("webhook.attempt", parent=caller, aggregate=ONE):
        pass
    (span,) = await world.spans()
    assert (span.trace, span.parent) == (caller[3:35], caller[36:52])


async def test_work_that_failed_says_with_what(world):
    with pytest.raises(ZeroDivisionError), world.telemetry.span("provider.call", payment_id=ONE):
        raise ZeroDivisionError("4242 4242 4242 4242")
    (span,) = await world.spans()
    assert span.error == "ZeroDivisionError"
    assert "4242" not in str(span)


async def test_long_text_is_cut(world):
    world.telemetry.info("payment.failed", payment_id=ONE, reason="x" * 10_000)
    (line,) = (await world.kept.of_payment(ONE, **FOREVER)).lines
    assert line.fields["reason"] == "x" * TEXT_MAX


async def test_what_stands_by_and_who_shares_a_span_are_bounded(world):
    with world.telemetry.span("http.request"):
        for number in range(WAITING_MAX + 5):
            world.telemetry.info(f"line.{number}")
        for number in range(PAYMENTS_MAX + 2):
            world.telemetry.about(f"pay_{number:026d}")
    assert len(world.kept._lines) == WAITING_MAX
    assert len(world.kept._spans) == PAYMENTS_MAX


async def test_without_an_observer_a_span_measures_nothing():
    telemetry = PlatformTelemetry(stream=io.BytesIO())
    with telemetry.span("http.request") as span:
        telemetry.about(ONE)
        telemetry.info("payment.created", payment_id=ONE)
    assert span.watch is None
