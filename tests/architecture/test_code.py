"""The house rules over the whole source and all tests. What they let pass stands here by name, with its reason."""

import functools
from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.rules import Rule, Source

ROOT = Path(__file__).parents[2]

TABLE_OF_ROUTES = "a table of routes: it is read from top to bottom and decides nothing"
REAL_SOCKETS = "speaks over real sockets, to which no clock of ours applies"
REAL_PROCESSES = "waits for processes"
ARRAYS = "numpy, for sums over arrays alone"

EXCEPTIONS: dict[Rule, dict[str, str]] = {
    rules.file_is_of_readable_size: {
        "src/interlock/entrypoints/cli/demo/proof.py": "one proof, read from top to bottom",
        "src/interlock/providers/conformance.py": "the list of what an adapter must withstand, in one place",
        "src/interlock/providers/simulator.py": "one provider, one file",
        "src/interlock/simulator/instance.py": "one provider's behaviour, token by token",
    },
    rules.functions_are_of_readable_size: {
        "src/interlock/entrypoints/http/payment_routes.py payment_routes": TABLE_OF_ROUTES,
        "src/interlock/entrypoints/http/webhook_routes.py _endpoint_routes": TABLE_OF_ROUTES,
        "src/interlock/entrypoints/http/desk_routes.py _seeing": TABLE_OF_ROUTES,
        "src/interlock/entrypoints/http/repair_routes.py repair_routes": TABLE_OF_ROUTES,
    },
    rules.names_have_a_home: {},
    rules.environment_is_read_at_the_edge: {
        "src/interlock/entrypoints/cli/": "where the environment comes in, and is handed on to what is started",
        "src/lambdas/package.py": "a program of the build: handed on to what is started",
        "src/interlock/entrypoints/functions.py Function.__init__": "a function's settings are its environment",
    },
    rules.broad_handlers_say_why: {},
    rules.core_is_pure: {
        "src/interlock/core/desk/localisation/expectation.py": ARRAYS,
        "src/interlock/core/desk/localisation/search.py": ARRAYS,
        "src/interlock/core/desk/localisation/tally.py": ARRAYS,
    },
    rules.money_is_whole: {
        "src/interlock/core/payments/sweeping.py oldest_unknown_s": "an age in seconds",
    },
    rules.port_methods_are_documented: {
        "src/interlock/core/kernel/telemetry.py Span.set": "says what it does",
        "src/interlock/core/kernel/telemetry.py Telemetry.warning": "as `info`, more urgent",
        "src/interlock/core/kernel/telemetry.py Telemetry.count": "says what it does",
        "src/interlock/core/kernel/telemetry.py Telemetry.gauge": "says what it does",
    },
    rules.functions_alone_are_tests: {},
    rules.nothing_is_passed_over: {
        "tests/counterparts/paths.py require": "the one place where a missing counterpart skips, or fails in CI",
        "tests/counterparts/oidc_provider.py": "the same, for a counterpart that needs more than a file",
    },
    rules.nothing_sleeps: {
        "tests/contracts/on_kafka.py": "waits until a real group has come to rest",
        "tests/contracts/test_sqlite_database.py": "other processes hold the file's lock",
        "tests/contracts/test_sqlite_processes.py": REAL_PROCESSES,
        "tests/counterparts/aws.py": REAL_PROCESSES,
        "tests/counterparts/dynoxide.py": REAL_PROCESSES,
        "tests/counterparts/mongo.py": REAL_PROCESSES,
        "tests/crash/": REAL_PROCESSES,
        "tests/e2e/": REAL_PROCESSES,
        "tests/entrypoints/api/": REAL_PROCESSES,
        "tests/entrypoints/cli/": REAL_PROCESSES,
        "tests/entrypoints/test_desk_routes.py": "reads rows that a real worker makes",
        "tests/entrypoints/test_observed_stories.py": "reads what a thread writes",
        "tests/entrypoints/console/": "reads rows that a real worker makes",
        "tests/entrypoints/http/test_server.py": REAL_SOCKETS,
        "tests/providers/engine/test_http_transport.py": REAL_SOCKETS,
        "tests/providers/engine/test_engine_outcomes.py": REAL_SOCKETS,
        "tests/providers/simulator/harness.py": REAL_SOCKETS,
        "tests/providers/simulator/test_wire.py": REAL_SOCKETS,
        "tests/running.py": REAL_PROCESSES,
        "tests/workflows/test_killed_worker.py": REAL_PROCESSES,
        "tests/workflows/worker_process.py": REAL_PROCESSES,
        "tests/workflows/runners.py": "asks an emulator again, to which no clock of ours applies",
        "tests/workflows/scripted.py": "a Lambda function that takes too long",
        "tests/simulation/": "its event loop has no time but its own, and forbids the machine's",
    },
}
"""Rule -> a file, a file and a place in it, or a whole folder (with `/`), and why the rule makes that place worse."""

MONEY = ("src/interlock/core/kernel/money.py", "src/interlock/core/ledger/", "src/interlock/core/payments/")
PORTS = "src/interlock/core/kernel/"
EVERYWHERE = ("src", "tests", "bench", "docs")


def checked_by(rule: Rule) -> list[Source]:
    """The files a rule applies to."""
    if rule is rules.names_have_a_home:
        return [s for folder in EVERYWHERE for s in rules.read(ROOT, folder)]
    if rule in (rules.functions_alone_are_tests, rules.nothing_is_passed_over, rules.nothing_sleeps):
        return rules.read(ROOT, "tests")
    if rule is rules.core_is_pure:
        return [s for s in rules.read(ROOT, "src") if s.path.startswith("src/interlock/core/")]
    if rule is rules.money_is_whole:
        return [s for s in rules.read(ROOT, "src") if s.path.startswith(MONEY)]
    if rule is rules.port_methods_are_documented:
        return [s for s in rules.read(ROOT, "src") if s.path.startswith(PORTS) or s.path.endswith("/ports.py")]
    return rules.read(ROOT, "src")


@functools.cache
def found_by(rule: Rule) -> list[tuple[str, str, str]]:
    return [(s.path, place, wrong) for s in checked_by(rule) for place, wrong in rule(s)]


def covers(exception: str, path: str, place: str) -> bool:
    file, _, inner = exception.partition(" ")
    if inner:
        return (file, inner) == (path, place)
    return path == file or (file.endswith("/") and path.startswith(file))


@pytest.mark.parametrize("rule", EXCEPTIONS, ids=lambda rule: rule.__name__)
def test_rule_holds_but_for_its_exceptions(rule):
    assert checked_by(rule)
    allowed = EXCEPTIONS[rule]
    broken = [
        f"{path}{' ' if place else ''}{place}: {wrong}"
        for path, place, wrong in found_by(rule)
        if not any(covers(exception, path, place) for exception in allowed)
    ]
    assert broken == []


@pytest.mark.parametrize("rule", EXCEPTIONS, ids=lambda rule: rule.__name__)
def test_every_exception_is_still_needed(rule):
    found = found_by(rule)
    named = [one for one in EXCEPTIONS[rule] if not one.endswith("/")]
    unused = [one for one in named if not any(covers(one, path, place) for path, place, _ in found)]
    assert unused == []


def test_every_rule_is_applied():
    all_rules = {value for name, value in vars(rules).items() if getattr(value, "__annotations__", {}).get("s")}
    assert all_rules == set(EXCEPTIONS)
