"""The workflow `capture_later` on every runner: the same answers, the same history."""

from __future__ import annotations

import pytest

from interlock.core.kernel.clock import MINUTE, rfc3339
from interlock.core.kernel.workflows import Status
from tests.workflows.runners import TEXTS, finished, told, with_timeout
from tests.workflows.scripted import asked, script

NAME = "capture_later"
BEGINNING = ["Begin", "WaitForTheTime"]
ATTENTION = ["RaiseAlarm: succeeded", "NeedsAttention"]


def gives(outcome: str, state: str = "succeeded") -> dict[str, object]:
    return {"gives": {"outcome": outcome, "state": state}}


def needs_attention(why: str) -> dict[str, str]:
    return {"status": "needs_attention", "payment": "pay_1", "why": why}


async def started(runner, id="later", **fields):
    at = rfc3339(runner.now() + MINUTE)
    return await runner.workflows.start(NAME, {"tenant": "ten_1", "payment": "pay_1", "at": at} | fields, id=id)


@pytest.mark.parametrize(
    ("answers", "output", "history"),
    [
        (
            [gives("captured")],
            {"status": "captured", "payment": "pay_1"},
            ["Capture: succeeded", "WhatBecameOfIt", "Captured"],
        ),
        (
            [gives("pending")],
            {"status": "pending", "payment": "pay_1"},
            ["Capture: succeeded", "WhatBecameOfIt", "Captured"],
        ),
        (
            [gives("not_needed", "canceled")],
            {"status": "not_needed", "payment": "pay_1", "state": "canceled"},
            ["Capture: succeeded", "WhatBecameOfIt", "NotNeeded"],
        ),
        (
            [gives("refused", "authorized")],
            needs_attention("capture_refused"),
            ["Capture: succeeded", "WhatBecameOfIt", "Refused", *ATTENTION],
        ),
        (
            [{"raises": "Unavailable"}, {"raises": "Unavailable"}, gives("captured")],
            {"status": "captured", "payment": "pay_1"},
            [
                "Capture: failed Unavailable, retried, failed Unavailable, retried, succeeded",
                "WhatBecameOfIt",
                "Captured",
            ],
        ),
        (
            [{"raises": "OutcomeUnknown"}],
            {"status": "recovering", "payment": "pay_1", "recovery": "recover_payment/later"},
            ["Capture: failed OutcomeUnknown", "StartRecovery: succeeded"],
        ),
        ([{"raises": "Rejected"}], needs_attention("Rejected"), ["Capture: failed Rejected", *ATTENTION]),
        ([{"raises": "KeyError"}], needs_attention("KeyError"), ["Capture: failed KeyError", *ATTENTION]),
    ],
    ids=["captured", "pending", "not_needed", "refused", "unavailable", "unknown", "rejected", "a_bug"],
)
async def test_capture_waits_for_its_time_and_comes_to_what_the_provider_says(open_runner, answers, output, history):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        recovery = [{"gives": {"started": "recover_payment/later"}}]
        script(runner.scripts, "later", {"capture_payment": answers, "start_recovery": recovery})
        execution = await started(runner, amount=500)
        done = await finished(runner, execution)
        assert (done.status, done.output) == (Status.SUCCEEDED, output)
        assert told(await runner.workflows.history(execution)) == [*BEGINNING, *history]
        for payload in asked(runner.scripts, "later", "capture_payment"):
            assert payload == {"execution": "later", "tenant": "ten_1", "payment": "pay_1", "amount": 500}


async def test_capture_without_an_amount_is_asked_for_all_there_is(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "later", {"capture_payment": [gives("captured")]})
        await finished(runner, await started(runner))
        assert asked(runner.scripts, "later", "capture_payment")[0]["amount"] is None


async def test_capture_that_takes_too_long_is_made_again_under_the_same_name(open_runner):
    async with open_runner({NAME: with_timeout(TEXTS[NAME], "Capture", 8)}) as runner:
        script(runner.scripts, "later", {"capture_payment": [{"hangs_s": 12, **gives("captured")}, gives("captured")]})
        execution = await started(runner)
        assert (await finished(runner, execution)).output == {"status": "captured", "payment": "pay_1"}
        assert told(await runner.workflows.history(execution))[2] == (
            "Capture: failed States.Timeout, retried, succeeded"
        )


async def test_recovery_that_cannot_be_started_calls_a_person(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        answers = {"capture_payment": [{"raises": "OutcomeUnknown"}], "start_recovery": [{"raises": "Rejected"}]}
        script(runner.scripts, "later", answers)
        execution = await started(runner)
        assert (await finished(runner, execution)).output == needs_attention("Rejected")


async def test_time_that_is_none_fails_the_execution_where_it_is_read(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "later", {})
        execution = await started(runner, at="tomorrow")
        done = await finished(runner, execution)
        assert (done.status, done.output, done.error) == (Status.FAILED, None, "States.QueryEvaluationError")
        assert told(await runner.workflows.history(execution)) == ["Begin", "WaitForTheTime: ..."]
        assert asked(runner.scripts, "later", "capture_payment") == []
