"""Answers by chance: the local runner and Step Functions come to the same end by the same history, and asked the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from interlock.core.kernel.clock import rfc3339
from tests.clocks import ManualClock
from tests.workflows.runners import TEXTS, Runner, asked, emulated_runner, finished, memory_runner, steps_of, told
from tests.workflows.scripted import asked as all_asked
from tests.workflows.scripted import script

ERRORS = ("Unavailable", "Unavailable", "OutcomeUnknown", "Rejected", "Invalid", "KeyError")
ITEMS = [{"payment": f"pay_{n}", "amount": n + 1} for n in range(7)]
FILE = {"name": "a.csv", "size": 1, "sha256": "ab" * 32}
GIVES: dict[str, list[Any]] = {
    "look_up_payment": [{"certain": False, "state": "uncertain"}, {"certain": True, "state": "failed"}],
    "capture_payment": [{"outcome": one, "state": "x"} for one in ("captured", "pending", "refused", "not_needed")],
    "start_recovery": [{"started": "recover_payment/x"}],
    "close_bulk_refund": [{"outcome": "x"}],
    "verify_ledger": [{"sound": True}, {"sound": False}],
    "archive_ledger": [{"files": []}],
    "inspect_file": [FILE | {"verdict": one} for one in ("accepted", "accepted", "empty")],
    "keep_file": [{"duplicate": one, "first_seen_as": "b.csv", "kept_at": "k"} for one in (True, False)],
    "quarantine_file": [{"kept_at": "q"}],
    "announce_file": [{"kept_at": "k"}],
}


def answers_of(dice: random.Random, step: str) -> list[Any]:
    """Up to five answers to one step, the later ones kinder."""

    def one(kindness: float) -> Any:
        if dice.random() < kindness:
            return {"gives": dice.choice(GIVES.get(step, [None]))}
        return {"raises": dice.choice(ERRORS)}

    return [one(0.3 + 0.2 * n) for n in range(dice.randrange(1, 6))]


def scripted_for(dice: random.Random, workflow: str) -> dict[str, list[Any]]:
    answers = {step: answers_of(dice, step) for step in sorted(steps_of(TEXTS[workflow]))}
    if workflow == "bulk_refund":  # the emulator swallows what the function of a task with a token raises
        answers["ask_for_approval"] = [{"gives": None}]
        answers |= {f"refund_item:{n}": answers_of(dice, "refund_item") for n in range(len(ITEMS))}
    return answers


def input_of(workflow: str, runner: Runner) -> Any:
    given: dict[str, Any] = {"tenant": "ten_1"}
    return (
        given
        | {
            "recover_payment": {"payment": "pay_1", "tries_max": 3, "pause_s": 1, "pause_max_s": 2},
            "capture_later": {"payment": "pay_1", "at": rfc3339(runner.now() + 5_000)},
            "bulk_refund": {"requested_by": "ann", "items": ITEMS},
            "nightly_ledger_verification": {"day": "2026-11-26"},
            "file_intake": {"key": "inbox/ten_1/a.csv"},
        }[workflow]
    )


async def played(runner: Runner, workflow: str, seed: int) -> Any:
    """How it ends, its history, and what each step was asked."""
    dice = random.Random(seed)
    answers = scripted_for(dice, workflow)
    script(runner.scripts, "x", answers)
    execution = await runner.workflows.start(workflow, input_of(workflow, runner), id="x")
    if workflow == "bulk_refund":
        token = (await asked(runner, execution, "ask_for_approval"))["token"]
        answer = dice.choice([{"approved_by": "bob"}] * 4 + [{"approved_by": "ann"}, {}, None])
        if answer is None:
            await runner.workflows.signal_failed(token, error=dice.choice(("Rejected", "Other")), cause="bob")
        else:
            await runner.workflows.signal(token, answer)
    done = await finished(runner, execution)
    told_to = {place: all_asked(runner.scripts, "x", place) for place in answers if place != "ask_for_approval"}
    return (done.status, done.output, done.error), told(await runner.workflows.history(execution)), told_to


@pytest.mark.aws
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("workflow", sorted(TEXTS))
async def test_answers_by_chance_come_to_the_same_on_both_runners(
    tmp_path: Path, aws: str, workflow: str, seed: int
) -> None:
    found = []
    for name in ("local", "emulated"):
        scripts = tmp_path / name / "scripts"
        scripts.mkdir(parents=True)
        texts = {workflow: TEXTS[workflow]}
        opened = (
            memory_runner(texts, scripts, ManualClock()) if name == "local" else emulated_runner(texts, scripts, aws)
        )
        async with opened as runner:
            found.append(await played(runner, workflow, seed))
    local, emulated = found
    assert local == emulated
