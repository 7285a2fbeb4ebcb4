"""What the engine says of a call, from what went over the wire. The adapter here believes anything; the engine does not."""

import asyncio

import pytest

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Outcome, Result
from interlock.core.kernel.secrets import Secret
from interlock.core.routing.breaker import BreakerSettings, BreakerState
from interlock.providers.engine import ProviderEngine
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest, Phase
from interlock.providers.transport import ProviderConfig
from tests.clocks import ManualClock
from tests.providers.engine.adapters import Bench, PlainProvider, answer, operation
from tests.providers.recording import RecordingTelemetry, ScriptedTransport

BEFORE = [FaultClass.DNS, FaultClass.CONNECT, FaultClass.TLS]
AFTER = [
    FaultClass.WRITE,
    FaultClass.READ_TIMEOUT,
    FaultClass.RESET,
    FaultClass.TRUNCATED,
    FaultClass.TOO_LARGE,
]


async def call(bench, action=Action.AUTHORIZE, *, resend=False, **fields):
    task = asyncio.ensure_future(bench.engine.call("plain", operation(action, **fields), resend=resend))
    await bench.clock.run_for(10)
    return await task


async def test_approval_with_the_amount_asked_for_is_approved():
    bench = Bench(answer())
    report = await call(bench)
    assert report.result == Result(Outcome.APPROVED, provider_reference="pp_1", amount=Money(1999, "EUR"))
    assert report.alarms == ()
    assert bench.transport.sent[0].headers["Key"] == "att_1"


@pytest.mark.parametrize("kind", BEFORE)
async def test_fault_before_the_first_byte_of_a_commit_is_not_sent_whatever_the_adapter_says(kind):
    for claim in Outcome:
        bench = Bench(Fault(kind), Fault(kind), provider=PlainProvider(on_fault=claim))
        report = await call(bench)
        assert report.result.outcome is Outcome.NOT_SENT, claim
        assert report.result.detail == kind.value


@pytest.mark.parametrize("kind", AFTER)
async def test_fault_of_a_commit_that_may_have_arrived_is_unknown_whatever_the_adapter_says(kind):
    for claim in Outcome:
        bench = Bench(Fault(kind), provider=PlainProvider(on_fault=claim))
        report = await call(bench)
        assert report.result.outcome is Outcome.UNKNOWN, claim
        assert report.result.detail == kind.value
        assert len(bench.transport.sent) == 1


@pytest.mark.parametrize("kind", BEFORE + AFTER)
async def test_any_fault_while_preparing_is_not_sent(kind):
    provider = PlainProvider(phases=(Phase.PREPARE, Phase.COMMIT), on_fault=Outcome.UNKNOWN)
    bench = Bench(Fault(kind), Fault(kind), provider=provider)
    report = await call(bench)
    assert report.result.outcome is Outcome.NOT_SENT
    assert {request.phase for request in bench.transport.sent} == {Phase.PREPARE}


@pytest.mark.parametrize("kind", BEFORE + AFTER)
async def test_any_fault_of_a_lookup_is_unknown_and_never_not_sent(kind):
    bench = Bench(Fault(kind), Fault(kind), provider=PlainProvider(on_fault=Outcome.NOT_SENT))
    report = await call(bench, Action.LOOKUP, target=Action.AUTHORIZE)
    assert report.result.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("claim", ["approved", "declined", "not_sent", "pending"])
async def test_server_error_on_a_commit_is_unknown_whatever_its_body_says(status, claim):
    report = await call(Bench(answer(claim, status=status)))
    assert report.result.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [500, 503])
async def test_server_error_on_a_lookup_is_unknown_not_an_unknown_attempt(status):
    report = await call(Bench(*[answer("not_sent", status=status)] * 2), Action.LOOKUP, target=Action.AUTHORIZE)
    assert report.result.outcome is Outcome.UNKNOWN


async def test_answer_to_a_lookup_that_the_attempt_is_unknown_is_not_sent():
    report = await call(Bench(answer("not_sent")), Action.LOOKUP, target=Action.AUTHORIZE)
    assert report.result.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    "echo",
    [{"amount": 1998}, {"amount": 199900}, {"currency": "USD"}, {"amount": -1999}, {"amount": 0}],
)
@pytest.mark.parametrize("outcome", ["approved", "pending"])
async def test_another_amount_than_asked_for_is_unknown_and_an_alarm(echo, outcome):
    bench = Bench(answer(outcome, **echo))
    report = await call(bench)
    assert (report.result.outcome, report.result.detail) == (Outcome.UNKNOWN, "amount_mismatch")
    assert report.alarms == ("amount_mismatch",)
    assert [line[2]["alarm"] for line in bench.telemetry.lines if line[1] == "provider.alarm_raised"] == [
        "amount_mismatch"
    ]


async def test_approval_without_an_amount_is_unknown_but_a_release_needs_none():
    bare = HttpReply(200, {}, b'{"outcome": "approved", "id": "pp_1"}')
    assert (await call(Bench(bare))).result.outcome is Outcome.UNKNOWN
    assert (await call(Bench(bare), Action.CAPTURE, provider_reference="pp_1")).result.outcome is Outcome.UNKNOWN
    assert (await call(Bench(bare), Action.VOID, provider_reference="pp_1")).result.outcome is Outcome.APPROVED


async def test_answer_about_another_payment_is_unknown_and_an_alarm():
    report = await call(Bench(answer(id="pp_2")), Action.CAPTURE, provider_reference="pp_1")
    assert (report.result.outcome, report.alarms) == (Outcome.UNKNOWN, ("reference_mismatch",))


async def test_alarming_word_of_an_adapter_becomes_an_alarm():
    class Wary(PlainProvider):
        def run(self, op, ctx):
            yield HttpRequest("POST", "/", Phase.COMMIT)
            return Result(Outcome.UNKNOWN, detail="unknown_status")

    report = await call(Bench(answer(), provider=Wary()))
    assert report.alarms == ("unknown_status",)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'{"outcome": "approved", "amount": 1.5, "currency": "EUR"}']
)
async def test_garbage_that_breaks_the_adapter_after_a_commit_is_unknown_and_an_alarm(body):
    bench = Bench(HttpReply(200, {}, body))
    report = await call(bench)
    assert (report.result.outcome, report.result.detail) == (Outcome.UNKNOWN, "adapter_error")
    assert report.alarms == ("adapter_error",)
    assert any(line[1] == "provider.adapter_failed" for line in bench.telemetry.lines)


async def test_adapter_that_breaks_before_anything_was_sent_is_not_sent_and_an_alarm():
    class Broken(PlainProvider):
        def run(self, op, ctx):
            raise KeyError("oops")
            yield

    bench = Bench(provider=Broken())
    report = await call(bench)
    assert (report.result.outcome, report.alarms) == (Outcome.NOT_SENT, ("adapter_error",))
    assert bench.transport.sent == []


async def test_adapter_that_breaks_while_preparing_is_not_sent():
    provider = PlainProvider(phases=(Phase.PREPARE,))
    report = await call(Bench(HttpReply(200, {}, b"garbage"), provider=provider))
    assert report.result.outcome is Outcome.NOT_SENT


async def test_defect_of_the_transport_during_a_commit_is_unknown():
    report = await call(Bench(RuntimeError("bug")))
    assert (report.result.outcome, report.alarms) == (Outcome.UNKNOWN, ("adapter_error",))


async def test_adapter_that_never_ends_is_stopped_and_unknown():
    class Endless(PlainProvider):
        def run(self, op, ctx):
            while True:
                yield HttpRequest("POST", "/", Phase.COMMIT)

    report = await call(Bench(*[answer()] * 100, provider=Endless()))
    assert report.result.outcome is Outcome.UNKNOWN
    assert len(report.exchanges) == 40


async def test_adapter_cannot_call_an_unsent_operation_approved():
    class Liar(PlainProvider):
        def run(self, op, ctx):
            return Result(Outcome.APPROVED, amount=op.amount)
            yield

    assert (await call(Bench(provider=Liar()))).result.outcome is Outcome.NOT_SENT


async def test_adapter_may_refuse_before_sending_what_the_provider_would_not_take():
    class Fussy(PlainProvider):
        def run(self, op, ctx):
            return Result(Outcome.DECLINED)
            yield

    bench = Bench(provider=Fussy())
    assert (await call(bench)).result.outcome is Outcome.DECLINED
    assert bench.transport.sent == []


async def test_answer_read_after_a_lost_commit_is_believed_but_not_that_nothing_happened():
    class Looks(PlainProvider):
        def __init__(self, outcome):
            super().__init__()
            self.outcome = outcome

        def run(self, op, ctx):
            yield HttpRequest("POST", "/", Phase.COMMIT)
            yield HttpRequest("GET", "/", Phase.READ)
            return Result(self.outcome, amount=op.amount)

    lost = Fault(FaultClass.READ_TIMEOUT)
    for outcome in (Outcome.APPROVED, Outcome.DECLINED, Outcome.PENDING):
        assert (await call(Bench(lost, answer(), provider=Looks(outcome)))).result.outcome is outcome
        twice = await call(Bench(lost, lost, lost, provider=Looks(outcome)))
        assert twice.result.outcome is Outcome.UNKNOWN
    not_found = await call(Bench(lost, answer(), provider=Looks(Outcome.NOT_SENT)))
    assert not_found.result.outcome is Outcome.UNKNOWN


async def test_refusal_of_a_resend_proves_nothing_about_the_first_sending():
    bench = Bench(*[Fault(FaultClass.CONNECT)] * 2)
    assert (await call(bench, resend=True)).result.outcome is Outcome.UNKNOWN
    refused = Bench(answer("not_sent", status=429))
    assert (await call(refused, resend=True)).result.outcome is Outcome.UNKNOWN
    assert (await call(Bench(answer("not_sent", status=429)))).result.outcome is Outcome.NOT_SENT


async def test_cancellation_passes_through_and_gives_its_probe_back():
    class Stuck:
        async def send(self, request, config):
            await asyncio.Event().wait()

        async def close(self):
            pass

    closed = []
    clock = ManualClock()

    class Watched(PlainProvider):
        def run(self, op, ctx):
            try:
                yield HttpRequest("POST", "/", Phase.COMMIT)
            finally:
                closed.append(True)

    engine = ProviderEngine(
        {"plain": (Watched(), ProviderConfig("plain", "http://127.0.0.1:9", {"key": Secret("k")}))},
        clock=clock,
        telemetry=RecordingTelemetry(),
        transport=ScriptedTransport([Fault(FaultClass.RESET)]),
        breaker=BreakerSettings(calls_min=1, open_s=1, probes_max=1),
    )
    await engine.call("plain", operation())
    clock.advance(1)
    engine._transport = Stuck()
    assert engine.health("plain") is BreakerState.HALF_OPEN
    task = asyncio.ensure_future(engine.call("plain", operation()))
    await asyncio.sleep(0.01)
    assert not engine.is_available("plain")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True, True]
    assert engine.is_available("plain")


async def test_unconfigured_provider_is_a_key_error():
    with pytest.raises(KeyError):
        await Bench().engine.call("nobody", operation())


def test_missing_credential_is_found_when_the_engine_is_made():
    with pytest.raises(ValueError, match="key"):
        ProviderEngine(
            {"plain": (PlainProvider(), ProviderConfig("plain", "http://127.0.0.1:9"))},
            clock=ManualClock(),
            telemetry=RecordingTelemetry(),
            transport=ScriptedTransport([]),
        )
