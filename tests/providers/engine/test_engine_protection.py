"""Retries, breaker, time limits, telemetry and what is kept of an exchange."""

import asyncio

import pytest

from interlock.core.kernel.providers import Action, Outcome, Result
from interlock.core.routing.breaker import BreakerSettings, BreakerState
from interlock.providers.engine import RetryBudget
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest, Phase
from tests.providers.engine.adapters import SECRET, Bench, PlainProvider, answer, operation

LOST = Fault(FaultClass.READ_TIMEOUT)
REFUSED = Fault(FaultClass.CONNECT)
QUICK = BreakerSettings(window_s=10, calls_min=3, open_s=2, probes_max=1, probes_to_close=2)


async def call(bench, action=Action.AUTHORIZE, *, for_s=10.0, **fields):
    task = asyncio.ensure_future(bench.engine.call("plain", operation(action, **fields)))
    await bench.clock.run_for(for_s)
    return await task


async def test_refused_connection_is_tried_once_more_and_the_answer_counts():
    bench = Bench(REFUSED, answer())
    report = await call(bench)
    assert report.result.outcome is Outcome.APPROVED
    assert [exchange.fault for exchange in report.exchanges] == ["connect", None]
    assert [request.headers["Key"] for request in bench.transport.sent] == ["att_1", "att_1"]


@pytest.mark.parametrize("trouble", [LOST, Fault(FaultClass.RESET), HttpReply(503, {}, b""), HttpReply(429, {}, b"{}")])
async def test_lost_or_refused_look_is_repeated_once(trouble):
    bench = Bench(trouble, answer())
    report = await call(bench, Action.LOOKUP, target=Action.AUTHORIZE)
    assert report.result.outcome is Outcome.APPROVED
    assert len(bench.transport.sent) == 2


@pytest.mark.parametrize("trouble", [LOST, Fault(FaultClass.RESET), Fault(FaultClass.WRITE), HttpReply(503, {}, b"{}")])
async def test_commit_that_may_have_arrived_is_never_sent_again(trouble):
    bench = Bench(trouble, answer())
    await call(bench)
    assert len(bench.transport.sent) == 1


async def test_retries_stop_when_the_budget_is_spent_and_come_back_with_traffic():
    bench = Bench(*[REFUSED] * 100, breaker=BreakerSettings(calls_min=1_000))
    sent = []
    for _ in range(15):
        before = len(bench.transport.sent)
        await call(bench, for_s=1)
        sent.append(len(bench.transport.sent) - before)
    assert sent[:10] == [2] * 10
    assert 1 in sent[10:]


def test_budget_never_holds_more_than_its_most():
    budget = RetryBudget(per_call=0.5, tokens_max=1)
    for _ in range(10):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]
    budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()


async def test_breaker_opens_on_trouble_and_refuses_without_sending():
    bench = Bench(*[LOST] * 3, answer(), answer(), breaker=QUICK)
    for _ in range(3):
        await call(bench, for_s=0)
    assert bench.engine.health("plain") is BreakerState.OPEN
    assert not bench.engine.is_available("plain")
    report = await call(bench, for_s=0)
    assert (report.result.outcome, report.result.detail) == (Outcome.NOT_SENT, "breaker_open")
    assert report.exchanges == ()
    looked = await call(bench, Action.LOOKUP, for_s=0, target=Action.AUTHORIZE)
    assert (looked.result.outcome, looked.result.detail) == (Outcome.UNKNOWN, "breaker_open")
    assert len(bench.transport.sent) == 3
    bench.clock.advance(2)
    assert bench.engine.health("plain") is BreakerState.HALF_OPEN
    for _ in range(2):
        assert (await call(bench, for_s=0)).result.outcome is Outcome.APPROVED
    assert bench.engine.health("plain") is BreakerState.CLOSED
    changes = [fields["status"] for _, event, fields in bench.telemetry.lines if event == "provider.breaker_changed"]
    assert changes == ["open", "closed"]


async def test_declines_and_refusals_do_not_open_the_breaker():
    bench = Bench(*[answer("declined")] * 10, *[answer("not_sent", status=400)] * 10, breaker=QUICK)
    for _ in range(20):
        await call(bench, for_s=0)
    assert bench.engine.health("plain") is BreakerState.CLOSED


async def test_call_starts_no_further_request_after_its_time():
    class TwoSteps(PlainProvider):
        def run(self, op, ctx):
            yield HttpRequest("POST", "/", Phase.PREPARE)
            reply = yield HttpRequest("POST", "/", Phase.COMMIT)
            return Result(Outcome.APPROVED if isinstance(reply, HttpReply) else Outcome.UNKNOWN, amount=op.amount)

    bench = Bench(answer(), answer(), provider=TwoSteps(), total_timeout_s=5)

    def slow(request):
        bench.clock.advance(6)
        return answer()

    bench.transport.answers = [slow, answer()]
    report = await call(bench, for_s=0)
    assert report.result.outcome is Outcome.NOT_SENT
    assert len(bench.transport.sent) == 1


async def test_call_is_counted_timed_and_traced_with_the_words_of_the_vocabulary():
    bench = Bench(answer())
    await call(bench, for_s=0)
    labels = {"provider": "plain", "operation": "authorize", "outcome": "approved"}
    assert bench.telemetry.counts == [("interlock_provider_calls_total", labels)]
    assert bench.telemetry.observations == [("interlock_provider_call_duration_seconds", 0.0, labels)]
    ((name, span),) = bench.telemetry.spans
    assert name == "provider.call"
    assert span.attributes["outcome"] == "approved"


async def test_exchange_keeps_named_fields_and_no_secret():
    reply = HttpReply(
        200,
        {"set-cookie": "s=1"},
        b'{"outcome":"approved","id":"pp_1","amount":1999,"currency":"EUR","client_secret":"pi_1_secret_9","email":"a@b.c",'
        b'"message":"card 4242 4242 4242 4242 with tok_visa_secret and ' + SECRET.encode() + b'"}',
    )
    report = await call(Bench(reply), for_s=0)
    (exchange,) = report.exchanges
    assert exchange.request == '{"attempt_id":"att_1","amount":1999}'
    assert exchange.reply is not None
    assert exchange.reply.startswith('{"id":"pp_1","outcome":"approved","amount":1999,"currency":"EUR","message":')
    for leak in ("4242 4242", "tok_visa_secret", SECRET, "secret_9", "a@b.c", "s=1"):
        assert leak not in repr(exchange)
    assert (exchange.method, exchange.url, exchange.phase) == ("POST", "http://127.0.0.1:9/commit", "commit")


async def test_no_repr_or_log_line_shows_token_or_key():
    bench = Bench(HttpReply(200, {}, b"garbage tok_visa_secret"))
    report = await call(bench, for_s=0)
    shown = repr((report, operation(), bench.transport.sent, bench.telemetry.lines, bench.telemetry.spans))
    assert "tok_visa_secret" not in shown
    assert SECRET not in shown
