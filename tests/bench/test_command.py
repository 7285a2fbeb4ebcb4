"""The command's exit status: what `make bench` is for."""

import copy

import msgspec
import pytest

from bench import __main__ as command
from bench import page
from bench.gates import GATES

LATEST = msgspec.json.decode(page.RESULTS.read_bytes())
MET = {
    "persisted": (("persisted", "wrong"), []),
    "one_core": (("one_core", "interlock", "of_echo", "median"), 0.5),
    "two_cores": (("two_cores", "interlock", "of_asyncpg", "median"), 50.0),
    "added_p50": (("latency", "low", "interlock_together", "added_p50_ms", "median"), 0.001),
    "added_p99": (("latency", "low", "interlock_together", "added_p99_ms", "median"), 0.001),
    "history": (("histories", "sizes", "1000000", "of_smallest", "median"), 1.0),
    "import": (("imports", "api", "median_ms"), 1.0),
}


def put(results, path, value):
    part = results
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command over given results in the place of a measurement: its status, what it printed, the JSON it wrote."""

    def command_over(**missed):
        results = copy.deepcopy(LATEST)
        for path, value in MET.values():
            put(results, path, value)
        for name, value in missed.items():
            put(results, MET[name][0], value)
        monkeypatch.setattr(command, "install_comparators", lambda: None)
        monkeypatch.setattr(command, "measure", lambda *_: results)
        status = command.main(["--quick", "--results", str(tmp_path / "results.json")])
        return status, capsys.readouterr().out, msgspec.json.decode((tmp_path / "results.json").read_bytes())

    return command_over


def test_run_that_meets_every_gate_ends_with_zero_and_shows_every_ratio(run):
    status, printed, written = run()
    assert status == 0
    assert "MISSED" not in printed
    assert all(gate.what in printed for gate in GATES)
    assert all(verdict["met"] for verdict in written["gates"])


@pytest.mark.parametrize("name", MET)
def test_run_that_misses_one_gate_ends_with_one_and_names_it(run, name):
    bad = {
        "persisted": ["interlock: payments 1, the answers say 2"],
        "import": 1_000.0,
        "added_p50": 1e6,
        "added_p99": 1e6,
    }
    status, printed, _ = run(**{name: bad.get(name, 0.01)})
    assert status == 1
    assert [line.split()[1].rstrip(":") for line in printed.splitlines() if line.startswith("MISSED")] == [name]


def test_rows_that_disagree_are_printed(run):
    _, printed, _ = run(persisted=["interlock: payments 1, the answers say 2"])
    assert "DISAGREES interlock: payments 1, the answers say 2" in printed


def test_run_that_could_not_be_measured_ends_with_two_and_judges_nothing(monkeypatch, capsys):
    def broken(*_):
        raise command.GeneratorFailed("the load generator ended with status 1")

    monkeypatch.setattr(command, "install_comparators", lambda: None)
    monkeypatch.setattr(command, "measure", broken)
    assert command.main(["--quick"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "not measured: the load generator ended with status 1\n"
