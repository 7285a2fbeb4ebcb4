"""The workflow `bulk_refund` on every runner: the same answers, the same history."""

from __future__ import annotations

from interlock.core.kernel.workflows import Status
from tests.workflows.runners import TEXTS, asked, finished, memory_runner, told, with_timeout
from tests.workflows.scripted import asked as all_asked
from tests.workflows.scripted import script

NAME = "bulk_refund"
ITEMS = [{"payment": f"pay_{n}", "amount": 100 + n} for n in range(4)]
INPUT = {"tenant": "ten_1", "requested_by": "ann", "items": ITEMS}
ASKED = "AskForApproval"
CLOSED = [{"gives": {"outcome": "as the step says"}}]
REFUNDED = {
    f"refund_item:{n}": [{"gives": {"item": n, "payment": f"pay_{n}", "refund": f"ref_{n}", "status": "refunded"}}]
    for n in range(4)
}


async def started(runner, **answers):
    """An execution, and the token that it waits for."""
    script(runner.scripts, "bulk", {**REFUNDED, "close_bulk_refund": CLOSED, **answers})
    execution = await runner.workflows.start(NAME, INPUT, id="bulk")
    return execution, (await asked(runner, execution, "ask_for_approval"))["token"]


def closing(runner):
    """What the last step was told."""
    (payload,) = all_asked(runner.scripts, "bulk", "close_bulk_refund")
    return payload["outcome"], payload["results"]


def refunds(runner):
    return [len(all_asked(runner.scripts, "bulk", f"refund_item:{n}")) for n in range(4)]


async def test_approved_by_somebody_else_every_item_is_refunded(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        execution, token = await started(runner)
        assert await runner.workflows.signal(token, {"approved_by": "bob"}) is True
        done = await finished(runner, execution)
        assert (done.status, done.output) == (Status.SUCCEEDED, CLOSED[0]["gives"])
        assert closing(runner) == ("approved", [REFUNDED[f"refund_item:{n}"][0]["gives"] for n in range(4)])
        assert told(await runner.workflows.history(execution)) == [
            "Begin",
            f"{ASKED}: succeeded",
            "IsApproved",
            "RefundItems",
            "CloseRequest: succeeded",
        ]
        assert all_asked(runner.scripts, "bulk", "refund_item:2") == [
            {"execution": "bulk", "tenant": "ten_1", "item": 2, "refund": ITEMS[2]}
        ]


async def test_item_that_fails_is_told_by_itself_and_stops_no_other(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        troubles = {
            "refund_item:0": [{"raises": "Unavailable"}, {"raises": "Unavailable"}, *REFUNDED["refund_item:0"]],
            "refund_item:1": [{"raises": "Rejected"}],
            "refund_item:3": [{"raises": "OutcomeUnknown"}],
        }
        execution, token = await started(runner, **troubles)
        await runner.workflows.signal(token, {"approved_by": "bob"})
        assert (await finished(runner, execution)).status is Status.SUCCEEDED
        assert closing(runner) == (
            "approved",
            [
                REFUNDED["refund_item:0"][0]["gives"],
                {"item": 1, "payment": "pay_1", "status": "failed", "error": "Rejected"},
                REFUNDED["refund_item:2"][0]["gives"],
                {"item": 3, "payment": "pay_3", "status": "unknown", "error": "OutcomeUnknown"},
            ],
        )
        assert refunds(runner) == [3, 1, 1, 1]
        assert told(await runner.workflows.history(execution))[2:4] == ["IsApproved", "RefundItems"]


async def test_rejected_it_ends_with_nothing_done(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        execution, token = await started(runner)
        assert await runner.workflows.signal_failed(token, error="Rejected", cause="by bob") is True
        assert (await finished(runner, execution)).status is Status.SUCCEEDED
        assert closing(runner) == ("rejected", [])
        assert refunds(runner) == [0, 0, 0, 0]
        assert told(await runner.workflows.history(execution)) == [
            "Begin",
            f"{ASKED}: failed Rejected",
            "CloseRequest: succeeded",
        ]


async def test_unanswered_it_ends_with_nothing_done_and_an_answer_after_that_counts_for_nothing(open_runner):
    async with open_runner({NAME: with_timeout(TEXTS[NAME], ASKED, 3)}) as runner:
        execution, token = await started(runner)
        assert (await finished(runner, execution)).status is Status.SUCCEEDED
        assert await runner.workflows.signal(token, {"approved_by": "bob"}) is False
        assert closing(runner) == ("timed_out", [])
        assert refunds(runner) == [0, 0, 0, 0]
        assert told(await runner.workflows.history(execution)) == [
            "Begin",
            f"{ASKED}: failed States.Timeout",
            "CloseRequest: succeeded",
        ]


async def test_answer_of_who_asked_is_no_approval(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        execution, token = await started(runner)
        await runner.workflows.signal(token, {"approved_by": "ann"})
        assert (await finished(runner, execution)).status is Status.SUCCEEDED
        assert closing(runner) == ("own_approval", [])
        assert refunds(runner) == [0, 0, 0, 0]


async def test_answer_that_names_nobody_is_no_approval(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        execution, token = await started(runner)
        await runner.workflows.signal(token, {"approved": True})
        assert (await finished(runner, execution)).status is Status.SUCCEEDED
        assert closing(runner) == ("rejected", [])
        assert refunds(runner) == [0, 0, 0, 0]


async def test_end_that_cannot_be_written_down_fails_the_execution(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        execution, token = await started(runner, close_bulk_refund=[{"raises": "Rejected"}])
        await runner.workflows.signal(token, {"approved_by": "bob"})
        done = await finished(runner, execution)
        assert (done.status, done.output, done.error) == (Status.FAILED, None, "NotClosed")
        assert told(await runner.workflows.history(execution))[-2:] == [
            "CloseRequest: failed Rejected",
            "NotClosed: ...",
        ]


async def test_malformed_request_is_refused_before_anybody_is_asked(scripts, clock):
    """On one machine alone: the emulator swallows what the function of a task with a token raises."""
    async with memory_runner({NAME: TEXTS[NAME]}, scripts, clock) as runner:
        script(scripts, "bulk", {"ask_for_approval": [{"raises": "Invalid"}]})
        execution = await runner.workflows.start(NAME, INPUT, id="bulk")
        done = await finished(runner, execution)
        assert (done.status, done.error) == (Status.FAILED, "Invalid")
        assert refunds(runner) == [0, 0, 0, 0]
