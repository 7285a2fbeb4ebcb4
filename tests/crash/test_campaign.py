"""A short campaign of real processes: each kind of blow once. `make crash ROUNDS=n` runs a long one."""

import random
import subprocess
import sys
from collections import Counter

import pytest

from tests.counterparts.paths import require
from tests.crash.__main__ import figures
from tests.crash.campaign import Outcome, Plan, in_turns, run
from tests.crash.checks import DOUBLE, LOSS, Check
from tests.crash.processes import ROOT

KINDS = 11
SEED = 20261126


@pytest.mark.timeout(240)
async def test_each_kind_of_blow_under_load_loses_and_doubles_nothing():
    require("faketime")
    said = []
    outcome = await run(Plan(rounds=KINDS, seed=SEED, payments=6, check_every=KINDS), said.append)
    print(figures(outcome))
    assert outcome.failed == [], figures(outcome)
    assert outcome.rounds.total() == KINDS
    assert set(outcome.left_out) <= {"read-only"}
    assert outcome.acknowledged >= outcome.payments > KINDS
    assert outcome.restarts >= 2 * KINDS - 6
    assert outcome.full_noticed == 1


def test_blows_come_in_turns_and_the_same_seed_deals_the_same():
    kinds = ["a", "b", "c"]
    order = in_turns(kinds, 8, random.Random(1))
    assert Counter(order[:3]) == Counter(order[3:6]) == Counter(kinds)
    assert len(order) == 8
    assert order == in_turns(kinds, 8, random.Random(1))
    assert order != in_turns(kinds, 8, random.Random(2))


def test_figures_of_a_campaign_that_failed_name_each_complaint_and_the_command_that_repeats_it():
    failed = [
        Check("what was acknowledged is there", LOSS, ("pay_1 is gone", "pay_2 is gone")),
        Check("no charge twice", DOUBLE, ("att_1",)),
    ]
    told = figures(Outcome(Plan(rounds=5, seed=77), failed=failed))
    for line in (
        "losses        2",
        "doubles       1",
        "pay_2 is gone",
        "FAILED; again: python -m tests.crash --rounds 5 --seed 77",
    ):
        assert line in told


def test_wrong_usage_ends_with_status_2_and_starts_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", "--rounds", "many"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "--rounds" in done.stderr
