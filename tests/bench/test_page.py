"""docs/performance.md says what the last full run's JSON says."""

import copy

import msgspec
import pytest

from bench import gates, page, report
from bench.plan import FULL

if_measured = pytest.mark.parametrize("results", [msgspec.json.decode(page.RESULTS.read_bytes())], ids=["latest"])


@if_measured
def test_page_has_the_tables_of_the_last_full_run(results):
    text = page.PAGE.read_text()
    assert page.with_measured(text, results) == text


@if_measured
def test_last_run_on_the_page_was_a_full_one(results):
    assert results["taken"]["quick"] is False
    assert results["taken"]["plan"] == msgspec.json.decode(msgspec.json.encode(FULL._asdict()))
    assert results["taken"]["reduced"] == []


@if_measured
def test_gates_in_the_results_are_those_judged_today(results):
    today = [verdict._asdict() for verdict in gates.judged(results)]
    assert msgspec.json.decode(msgspec.json.encode(today)) == results["gates"]


@if_measured
def test_changed_figure_changes_the_page(results):
    changed = copy.deepcopy(results)
    changed["one_core"]["interlock"]["per_s"]["median"] *= 2
    assert page.measured(changed) != page.measured(results)


@if_measured
def test_every_plot_is_there_and_shown(results):
    for name in ("throughput", "latency", "stored"):
        drawing = (page.PLOTS / f"{name}.svg").read_text()
        assert drawing.count("<svg") == 1 and "<text" in drawing
        assert f"(performance/{name}.svg)" in page.PAGE.read_text()


@pytest.mark.parametrize(
    ("value", "shown"),
    (
        (12_345.6, "12,346"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.1234, "0.123"),
        (0, "0.000"),
        (float("nan"), "not measured"),
    ),
)
def test_number_shows_what_it_can_tell(value, shown):
    assert report.number(value) == shown


@if_measured
@pytest.mark.parametrize(("cores", "is_warned_of"), ((0.02, False), (0.8, True), (float("nan"), True)))
def test_machine_that_was_not_quiet_is_said_to_have_been_so(results, cores, is_warned_of):
    changed = copy.deepcopy(results)
    for phase in ("one_core", "two_cores"):
        for name, one in changed[phase].items():
            if name != "echo":
                one["cpu_cores"]["others"] = cores
    assert bool(report.warning(changed)) == is_warned_of
    assert ("not quiet" in page.measured(changed)) == is_warned_of
