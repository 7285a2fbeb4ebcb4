"""The targets of `bench/localisation`, on a few drops and calm windows whose seeds no threshold was chosen on."""

import functools

from bench.localisation.__main__ import F1_MIN, FALSE_ALARMS_MAX, HIT_MIN, Plan, cases
from bench.localisation.baselines import adtributor, largest_loss
from bench.localisation.generate import LOST_MIN, Size, Stage
from bench.localisation.scoring import Score, baseline, ours, scored
from interlock.core.desk.figures.folding import folded
from interlock.core.desk.localisation.counting import PAST
from interlock.core.desk.localisation.localising import localise
from interlock.core.desk.localisation.model import DIMENSIONS, OUTCOME, Leaf
from interlock.core.kernel.documents import Tally

PLAN = Plan(stages=4, drops=15, calms=50)
SEED = 90_000
SMALL = Size(profiles_drawn=4_000, before=12_000, now_min=1_200, now_max=2_400)


@functools.cache
def score() -> Score:
    return scored(cases(PLAN, SEED, SMALL), {"ours": ours})["ours"]


def test_causes_of_held_out_drops_are_found():
    assert score().drops == 60
    assert score().f1 >= F1_MIN
    assert score().hit >= HIT_MIN


def test_calm_windows_raise_hardly_an_alarm():
    assert score().calms == 200
    assert score().false_alarms <= FALSE_ALARMS_MAX


def test_simple_methods_find_far_fewer():
    methods = {"ours": ours, "loss": baseline(largest_loss), "adtributor": baseline(adtributor)}
    scores = scored(cases(Plan(stages=1, drops=15, calms=0), SEED, SMALL), methods)
    assert 0 < scores["loss"].f1 < scores["ours"].f1 / 2
    assert scores["adtributor"].f1 < scores["ours"].f1 / 2


def test_same_seed_draws_the_same_drop_and_finding():
    one, other = (Stage(SEED, SMALL).drop() for _ in range(2))
    assert one == other
    assert localise(one.leaves) == localise(other.leaves)


def test_drawn_drop_turned_enough_successes_into_failures():
    case = Stage(SEED + 1, SMALL).drop()
    assert len(case.lost) == len(case.truth)
    assert min(case.lost) >= LOST_MIN


def with_folded_past(leaves: list[Leaf], fields: frozenset[str]) -> list[Leaf]:
    """The calm time as it is remembered where there is room for half of its combinations."""
    past = [
        Tally((*leaf.attributes, good), number, ())
        for leaf in leaves
        for good, number in ((True, leaf.before_good), (False, leaf.before_total - leaf.before_good))
        if number
    ]
    kept = folded(past, [DIMENSIONS.index(name) for name in fields], len(past) // 2)
    assert len(kept) <= len(past) // 2
    before = [Leaf(row.values[:-1], row.number, row.number * bool(row.values[-1]), 0, 0) for row in kept]  # type: ignore[arg-type]
    return before + [leaf._replace(before_total=0, before_good=0) for leaf in leaves if leaf.now_total]


def alarms(fields: frozenset[str]) -> int:
    stage = Stage(SEED + 2, SMALL)
    calm = [with_folded_past(stage.calm().leaves, fields) for _ in range(10)]
    return sum(localise(leaves).verdict != "calm" for leaves in calm)


def test_past_of_which_rare_values_are_not_told_apart_raises_no_alarm_and_hides_few_causes():
    assert alarms(PAST.fields) == 0
    stage = Stage(SEED + 3, SMALL)
    drops = [stage.drop() for _ in range(12)]
    found = [{one.where for one in localise(with_folded_past(case.leaves, PAST.fields)).causes} for case in drops]
    assert sum(bool(case.truth & named) for case, named in zip(drops, found, strict=True)) >= 10


def test_past_that_does_not_tell_errors_apart_would_raise_alarms():
    assert alarms(PAST.fields | {OUTCOME}) > 5
