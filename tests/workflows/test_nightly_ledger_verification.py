"""The workflow `nightly_ledger_verification` on every runner: the same answers, the same history."""

from __future__ import annotations

import pytest

from interlock.core.kernel.workflows import Status
from tests.workflows.runners import TEXTS, finished, told
from tests.workflows.scripted import asked, script

NAME = "nightly_ledger_verification"
INPUT = {"tenant": "ten_1", "day": "2026-11-26"}
SOUND, UNSOUND = {"sound": True, "findings": []}, {"sound": False, "findings": [{"code": "journal_missing"}]}
ARCHIVE = {"files": [{"key": "ledger/ten_1/2026-11-26/night/report.json"}]}
ATTENTION = ["RaiseAlarm: succeeded", "NeedsAttention"]


def needs_attention(why: str) -> dict[str, str]:
    return {"status": "needs_attention", "tenant": "ten_1", "day": "2026-11-26", "why": why}


@pytest.mark.parametrize(
    ("verify", "archive", "output", "history"),
    [
        (
            [{"gives": SOUND}],
            [{"gives": ARCHIVE}],
            {"status": "sound", "report": SOUND, "archive": ARCHIVE},
            ["Verify: succeeded", "Archive: succeeded", "IsSound", "Verified"],
        ),
        (
            [{"gives": UNSOUND}],
            [{"gives": ARCHIVE}],
            needs_attention("ledger_differs"),
            ["Verify: succeeded", "Archive: succeeded", "IsSound", "Differs", *ATTENTION],
        ),
        (
            [{"raises": "Unavailable"}, {"gives": SOUND}],
            [{"raises": "Unavailable"}, {"gives": ARCHIVE}],
            {"status": "sound", "report": SOUND, "archive": ARCHIVE},
            [
                "Verify: failed Unavailable, retried, succeeded",
                "Archive: failed Unavailable, retried, succeeded",
                "IsSound",
                "Verified",
            ],
        ),
        (
            [{"gives": SOUND}],
            [{"raises": "Rejected"}],
            needs_attention("Rejected"),
            ["Verify: succeeded", "Archive: failed Rejected", *ATTENTION],
        ),
        (
            [{"raises": "Unavailable"}],
            [],
            needs_attention("Unavailable"),
            ["Verify: " + "failed Unavailable, retried, " * 3 + "failed Unavailable", *ATTENTION],
        ),
    ],
    ids=["sound", "differs", "unavailable_at_first", "not_archived", "not_verified"],
)
async def test_ledger_is_verified_and_archived_and_a_difference_calls_a_person(
    open_runner, verify, archive, output, history
):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "night", {"verify_ledger": verify, "archive_ledger": archive})
        execution = await runner.workflows.start(NAME, INPUT, id="night")
        done = await finished(runner, execution)
        assert (done.status, done.output) == (Status.SUCCEEDED, output)
        assert told(await runner.workflows.history(execution)) == ["Begin", *history]


async def test_archive_is_given_what_the_verification_found(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "night", {"verify_ledger": [{"gives": UNSOUND}], "archive_ledger": [{"gives": ARCHIVE}]})
        await finished(runner, await runner.workflows.start(NAME, INPUT, id="night"))
        assert asked(runner.scripts, "night", "archive_ledger") == [
            {"execution": "night", "tenant": "ten_1", "day": "2026-11-26", "report": UNSOUND}
        ]
        assert asked(runner.scripts, "night", "raise_alarm") == [
            {"execution": "night", "workflow": NAME, "about": "ten_1/2026-11-26", "why": "ledger_differs"}
        ]


async def test_started_by_the_clock_it_takes_the_day_that_ended(open_runner):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "night", {"verify_ledger": [{"gives": SOUND}], "archive_ledger": [{"gives": ARCHIVE}]})
        clock = {"tenant": "ten_1", "at": "2026-12-01T01:00:00Z"}
        done = await finished(runner, await runner.workflows.start(NAME, clock, id="night"))
        assert done.status == Status.SUCCEEDED
        assert [one["day"] for one in asked(runner.scripts, "night", "archive_ledger")] == ["2026-11-30"]
