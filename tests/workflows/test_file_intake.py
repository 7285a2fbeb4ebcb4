"""The workflow `file_intake` on every runner: the same answers, the same history."""

from __future__ import annotations

import pytest

from interlock.core.kernel.workflows import Status
from tests.workflows.runners import TEXTS, finished, told
from tests.workflows.scripted import asked, script

NAME = "file_intake"
KEY = "inbox/ten_1/batch.csv"
FILE = {"name": "batch.csv", "size": 3, "sha256": "ab" * 32, "verdict": "accepted"}
BAD = FILE | {"verdict": "empty"}
NEW = {"duplicate": False, "first_seen_as": "batch.csv", "kept_at": "files/ten_1/abab"}
AGAIN = NEW | {"duplicate": True, "first_seen_as": "earlier.csv"}
LET_IN = ["Inspect: succeeded", "MayComeIn"]


@pytest.mark.parametrize(
    ("answers", "output", "history"),
    [
        (
            {"inspect_file": [{"gives": FILE}], "keep_file": [{"gives": NEW}], "announce_file": [{"gives": NEW}]},
            {"status": "accepted", "sha256": "ab" * 32, "kept_at": "files/ten_1/abab"},
            [*LET_IN, "Keep: succeeded", "IsNew", "Announce: succeeded"],
        ),
        (
            {"inspect_file": [{"gives": FILE}], "keep_file": [{"gives": AGAIN}]},
            {"status": "duplicate", "sha256": "ab" * 32, "first_seen_as": "earlier.csv"},
            [*LET_IN, "Keep: succeeded", "IsNew", "Duplicate"],
        ),
        (
            {"inspect_file": [{"gives": BAD}], "quarantine_file": [{"gives": {"kept_at": "quarantine/x"}}]},
            {"status": "quarantined", "reason": "empty", "kept_at": "quarantine/x"},
            [*LET_IN, "Quarantine: succeeded"],
        ),
        (
            {"inspect_file": [{"raises": "Unavailable"}, {"raises": "Rejected"}]},
            {"status": "needs_attention", "key": KEY, "why": "Rejected"},
            [
                "Inspect: failed Unavailable, retried, failed Rejected",
                "RaiseAlarm: succeeded",
                "NeedsAttention",
            ],
        ),
    ],
    ids=["accepted", "duplicate", "quarantined", "not_there"],
)
async def test_file_is_taken_in_once_or_put_aside(open_runner, answers, output, history):
    async with open_runner({NAME: TEXTS[NAME]}) as runner:
        script(runner.scripts, "file", answers)
        execution = await runner.workflows.start(NAME, {"tenant": "ten_1", "key": KEY, "size": 3}, id="file")
        done = await finished(runner, execution)
        assert (done.status, done.output) == (Status.SUCCEEDED, output)
        assert told(await runner.workflows.history(execution)) == ["Begin", *history]
        for step in ("keep_file", "quarantine_file", "announce_file"):
            for payload in asked(runner.scripts, "file", step):
                known = BAD if step == "quarantine_file" else FILE
                assert payload == {"execution": "file", "tenant": "ten_1", "key": KEY, "file": known}
