"""Every gate can be met and can be missed, and what was not measured is missed."""

import copy

import pytest

from bench.gates import GATES, judged

GOOD = {
    "persisted": {"wrong": []},
    "one_core": {"interlock": {"of_echo": {"median": 0.13}}},
    "two_cores": {"interlock": {"of_asyncpg": {"median": 9.0}}},
    "latency": {"low": {"interlock_together": {"added_p50_ms": {"median": 1.0}, "added_p99_ms": {"median": 3.0}}}},
    "durable": {"fdatasync_p50_us": {"median": 100.0}},
    "histories": {
        "sizes": {
            "1000": {"of_smallest": {"median": 1.0}},
            "100000": {"of_smallest": {"median": 0.5}},
            "1000000": {"of_smallest": {"median": 0.95}},
        }
    },
    "imports": {"api": {"median_ms": 300.0}},
}
BAD = {
    "persisted": (("persisted", "wrong"), ["one payment is missing"], 1),
    "one_core": (("one_core", "interlock", "of_echo", "median"), 0.079, 0.079),
    "two_cores": (("two_cores", "interlock", "of_asyncpg", "median"), 4.99, 4.99),
    "added_p50": (("latency", "low", "interlock_together", "added_p50_ms", "median"), 2.1, 21.0),
    "added_p99": (("latency", "low", "interlock_together", "added_p99_ms", "median"), 8.1, 81.0),
    "history": (("histories", "sizes", "1000000", "of_smallest", "median"), 0.89, 11.0),
    "import": (("imports", "api", "median_ms"), 350.1, 350.1),
}
"""Gate -> where to write what into good results, and the figure that must come of it."""


def missed(results):
    return [verdict.name for verdict in judged(results) if not verdict.met]


def changed(path, value):
    results = copy.deepcopy(GOOD)
    part = results
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return results


def test_good_results_meet_every_gate_and_reach_every_aim():
    verdicts = judged(GOOD)
    assert [verdict.name for verdict in verdicts] == [gate.name for gate in GATES]
    assert all(verdict.met for verdict in verdicts)
    assert all(verdict.aim_met for verdict in verdicts if verdict.aim is not None)


def test_table_of_bad_results_has_every_gate():
    assert set(BAD) == {gate.name for gate in GATES}


@pytest.mark.parametrize("name", BAD)
def test_figure_on_the_wrong_side_misses_its_gate_and_no_other(name):
    path, value, figure = BAD[name]
    results = changed(path, value)
    assert missed(results) == [name]
    (verdict,) = [one for one in judged(results) if one.name == name]
    assert verdict.value == pytest.approx(figure)


@pytest.mark.parametrize("name", BAD)
def test_figure_that_was_not_measured_misses_its_gate(name):
    results = copy.deepcopy(GOOD)
    del results[BAD[name][0][0]]
    assert name in missed(results)


def test_figure_between_gate_and_aim_meets_the_gate_alone():
    (verdict,) = [one for one in judged(changed(BAD["one_core"][0], 0.10)) if one.name == "one_core"]
    assert (verdict.met, verdict.aim_met) == (True, False)


def test_figure_on_the_bound_meets_its_gate():
    assert missed(changed(BAD["two_cores"][0], 5.0)) == []
    assert missed(changed(BAD["import"][0], 350.0)) == []
