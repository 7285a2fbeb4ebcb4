"""The workflow `recover_payment` on every runner: the same answers, the same history."""

from __future__ import annotations

import pytest

from interlock.core.kernel.workflows import Status
from tests.workflows.runners import TEXTS, finished, told, with_timeout
from tests.workflows.scripted import asked, script

NAME = "recover_payment"
INPUT = {"tenant": "ten_1", "payment": "pay_1", "tries_max": 3, "pause_s": 2, "pause_max_s": 3}
CERTAIN = {"gives": {"certain": True, "state": "succeeded"}}
OPEN = {"gives": {"certain": False, "state": "uncertain"}}
LOOKED = ["LookUp: succeeded", "IsCertain"]
FAILED_4 = "failed Unavailable, retried, " * 4


@pytest.mark.parametrize(
    ("answers", "output", "history"),
    [
        (
            [CERTAIN],
            {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 1},
            ["Begin", *LOOKED, "Recovered"],
        ),
        (
            [OPEN, OPEN, CERTAIN],
            {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 3},
            ["Begin", *LOOKED, "Pause", *LOOKED, "Pause", *LOOKED, "Recovered"],
        ),
        (
            [OPEN],
            {"status": "needs_attention", "payment": "pay_1", "why": "tries_exhausted", "tries": 3},
            ["Begin", *LOOKED, "Pause", *LOOKED, "Pause", *LOOKED, "RaiseAlarm: succeeded", "NeedsAttention"],
        ),
        (
            [{"raises": "Unavailable"}, {"raises": "Unavailable"}, CERTAIN],
            {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 1},
            [
                "Begin",
                "LookUp: failed Unavailable, retried, failed Unavailable, retried, succeeded",
                "IsCertain",
                "Recovered",
            ],
        ),
        (
            [*[{"raises": "Unavailable"}] * 5, CERTAIN],
            {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 2},
            ["Begin", f"LookUp: {FAILED_4}failed Unavailable", "IsCertain", "Pause", *LOOKED, "Recovered"],
        ),
        (
            [{"raises": "OutcomeUnknown"}, CERTAIN],
            {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 2},
            ["Begin", "LookUp: failed OutcomeUnknown", "IsCertain", "Pause", *LOOKED, "Recovered"],
        ),
        (
            [{"raises": "Rejected"}],
            {"status": "needs_attention", "payment": "pay_1", "why": "Rejected", "tries": 0},
            ["Begin", "LookUp: failed Rejected", "RaiseAlarm: succeeded", "NeedsAttention"],
        ),
        (
            [{"raises": "ZeroDivisionError"}],
            {"status": "needs_attention", "payment": "pay_1", "why": "ZeroDivisionError", "tries": 0},
            ["Begin", "LookUp: failed ZeroDivisionError", "RaiseAlarm: succeeded", "NeedsAttention"],
        ),
    ],
    ids=["at_once", "later", "never", "unavailable", "long_unavailable", "unknown", "rejected", "a_bug"],
)
async def test_payment_is_looked_up_until_it_is_certain_or_a_person_is_called(open_runner, answers, output, history):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "pay_1", {"look_up_payment": answers})
        execution = await runner.workflows.start(NAME, INPUT, id="pay_1")
        done = await finished(runner, execution)
        assert (done.status, done.output, done.error) == (Status.SUCCEEDED, output, None)
        assert told(await runner.workflows.history(execution)) == history
        for payload in asked(runner.scripts, "pay_1", "look_up_payment"):
            assert payload == {"execution": "pay_1", "tenant": "ten_1", "payment": "pay_1"}


async def test_look_up_that_takes_too_long_is_made_again(open_runner):
    async with open_runner({NAME: with_timeout(TEXTS[NAME], "LookUp", 8)}) as runner:
        script(runner.scripts, "pay_1", {"look_up_payment": [{"hangs_s": 12, **OPEN}, CERTAIN]})
        execution = await runner.workflows.start(NAME, INPUT, id="pay_1")
        done = await finished(runner, execution)
        assert done.output == {"status": "certain", "payment": "pay_1", "state": "succeeded", "tries": 1}
        assert told(await runner.workflows.history(execution)) == [
            "Begin",
            "LookUp: failed States.Timeout, retried, succeeded",
            "IsCertain",
            "Recovered",
        ]


async def test_alarm_that_cannot_be_raised_does_not_change_the_end(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(
            runner.scripts,
            "pay_1",
            {"look_up_payment": [{"raises": "Rejected"}], "raise_alarm": [{"raises": "Invalid"}]},
        )
        execution = await runner.workflows.start(NAME, INPUT, id="pay_1")
        assert (await finished(runner, execution)).output["status"] == "needs_attention"
        assert told(await runner.workflows.history(execution))[-2:] == ["RaiseAlarm: failed Invalid", "NeedsAttention"]
        assert asked(runner.scripts, "pay_1", "raise_alarm") == [
            {"execution": "pay_1", "workflow": NAME, "about": "pay_1", "why": "Rejected"}
        ]
