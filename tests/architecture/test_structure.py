"""The folders are what they are said to be: features, ports and their adapters, dependencies."""

import ast
import configparser
import functools
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture import rules

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "src/interlock"
CORE = HOUSE / "core"

# -- features ----------------------------------------------------------------------------------------------------------

FIXED_NAMES = frozenset(
    {"__init__", "commands", "events", "states", "model", "records", "ports", "handlers", "views"}
    | {"projection", "verification"}
)
"""A reader who knows one feature finds their way in the next by these."""

OWN_NAMES = {
    "access": {
        "audit_chain",
        "audit",
        "authentication",
        "callers",
        "claims",
        "credentials",
        "rates",
        "scopes",
        "signing_keys",
    },
    "desk/alerts": {
        *{"alertmanager", "cloudwatch", "datadog", "formats", "generic", "listing", "pagerduty", "proofs", "reading"},
        *{"rehearsing", "responding", "rule_set", "rules", "silences", "sns", "sources", "verdicts"},
    },
    "desk/bulk": set(),
    "desk/explain": {"bundle", "replaying", "search"},
    "desk/figures": {"folding", "remembering"},
    "desk/localisation": {"chance", "counting", "expectation", "localising", "search", "tally"},
    "desk/operators": {"errands", "id_tokens", "identities", "passwords", "refusals", "roles", "tries"},
    "desk/overview": set(),
    "desk/queries": {
        *{"exports", "following", "library", "library_checks", "library_figures", "segments", "tables"},
    },
    "desk/repair": {"acting", "planning", "running"},
    "desk/replay": {"choosing", "planning", "running"},
    "desk/risk": {"books", "drift", "looking"},
    "desk/slo": {
        *{"alert_policies", "budgets", "counting", "fields", "indicators", "openslo", "prometheus", "sla", "templates"},
        *{"verdicts", "yaml_nodes"},
    },
    "ledger": {"accounts", "archive", "export", "totals"},
    "notifications": set(),
    "payments": {
        *{"calls", "commits", "decisions", "disputes", "journals", "news", "operations", "outcomes"},
        *{"releases", "reversals", "sweeping", "timeline"},
        *{"attention", "bulk_refunds", "contradictions", "recovering"},
    },
    "reconciliation": set(),
    "routing": {"breaker"},
    "webhooks": {"delivering", "listing", "schedule", "sealing", "signing", "subscriptions", "targets", "traffic"},
}
"""A new file is one more thing to know: it gets one of the fixed names, or is added here on purpose."""


def _folders(place: Path) -> list[str]:
    return [folder.name for folder in place.iterdir() if folder.is_dir() and folder.name != "__pycache__"]


DESK = CORE / "desk"
"""A house of its own: its folders are features like the others."""
FEATURES = sorted(
    [name for name in _folders(CORE) if name not in ("kernel", "desk")] + [f"desk/{name}" for name in _folders(DESK)]
)


def test_every_feature_is_listed():
    assert set(OWN_NAMES) == set(FEATURES)


@pytest.mark.parametrize("feature", FEATURES)
def test_files_of_a_feature_have_known_names(feature):
    names = {path.stem for path in (CORE / feature).glob("*.py")}
    assert names - FIXED_NAMES - OWN_NAMES[feature] == set(), "use a fixed name, or add the new one on purpose"
    assert OWN_NAMES[feature] - names == set(), "no longer there"
    assert not OWN_NAMES[feature] & FIXED_NAMES


def test_features_are_flat():
    nested = [path for feature in FEATURES for path in (CORE / feature).iterdir() if path.is_dir()]
    assert [path for path in nested if path.name != "__pycache__"] == []


# -- ports and their adapters ------------------------------------------------------------------------------------------

CONTRACTS = {
    "Store": "test_store.py",
    "Feed": "test_feed.py",
    "Bus": "test_bus.py",
    "Queue": "test_queue.py",
    "Blobs": "test_blobs.py",
    "Documents": "test_documents.py",
    "Secrets": "test_secrets.py",
    "Clock": "test_clock.py",
    "Ids": "test_ids.py",
    "Workflows": "test_workflows.py",
}
NOT_UNDER_CONTRACT = {
    "Subscription": "what a Bus gives out: its contract is in the Bus's",
    "Prunes": "an optional ability of a Bus, in the Bus's contract",
    "TakesRecords": "an optional ability of a Queue that functions are handed records of: tests/backends/aws, tests/lambdas",
    "EndsLeases": "an optional ability of a Queue: tests/contracts/test_queue_leases.py",
    "Forwards": "an optional ability of a Bus: tests/contracts/test_forwarding.py",
    "RunsSteps": "an optional ability of Workflows: tests/backends/asl",
    "Tallies": "an optional ability of Documents: tests/contracts/test_tallies.py",
    "DropsExpired": "an optional ability of a Store, in the Store's contract",
    "Alarms": "one adapter, with tests of its own: tests/backends/aws/test_alarms.py",
    "SharesEvents": "one adapter, with tests of its own: tests/backends/aws/test_event_bridge.py",
    "Vault": "one adapter, with tests of its own: tests/backends/aws/test_vault.py",
    "Telemetry": "one adapter, with tests of its own: tests/backends/telemetry",
    "Span": "what a Telemetry gives out",
}


Methods = frozenset[tuple[str, ...]]


def methods(node: ast.ClassDef) -> Methods:
    """Each public method as its name and the names of its parameters: mypy asks for the same ones."""
    found = [(name, method.args) for name, method in rules.functions(node) if not name.startswith("_")]
    return frozenset((name, *(one.arg for one in (*given.args, *given.kwonlyargs)[1:])) for name, given in found)


@functools.cache
def classes(folder: Path) -> dict[str, ast.ClassDef]:
    trees = [ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


@functools.cache
def ports() -> dict[str, Methods]:
    """Kernel port -> its methods."""
    return {name: methods(node) for name, node in classes(CORE / "kernel").items() if rules.is_protocol(node)}


NO_ADAPTERS = {
    "TableHistories": "read from one end to the other, and not followed: tests/backends/aws/test_histories.py"
}
"""They have a port's methods, and do not promise all that it does."""


def adapters(port: str) -> set[str]:
    """Every class of the backends that has all the port's methods, whatever it calls itself."""
    wanted = ports()[port]
    found = {name for name, node in classes(HOUSE / "backends").items() if wanted <= methods(node)}
    return found - set(NO_ADAPTERS)


def made_in(*files: Path) -> set[str]:
    """Names that are called somewhere in these files: `SqliteQueue(...)`, `Database.open(...)` names Database."""
    calls = [
        node.func for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
    ]
    return {ast.unparse(call).partition(".")[0] for call in calls}


def test_every_port_has_a_contract_or_a_reason():
    assert set(CONTRACTS) | set(NOT_UNDER_CONTRACT) == set(ports())
    assert not set(CONTRACTS) & set(NOT_UNDER_CONTRACT)


@pytest.mark.parametrize("port", CONTRACTS)
def test_every_adapter_of_a_port_is_made_by_its_contract_suite(port):
    found = adapters(port)
    assert found, f"no class in backends has the methods of {port}"
    contracts = ROOT / "tests/contracts"
    made = made_in(contracts / CONTRACTS[port], contracts / "conftest.py", *contracts.glob("on_*.py"))
    assert found - made == set()


def test_adapters_are_found_by_their_methods():
    assert adapters("Store") == {"MemoryStore", "SqliteStore", "DynamoStore"}
    assert adapters("Feed") == {"MemoryStore", "SqliteFeed", "StreamFeed"}
    assert set(NO_ADAPTERS) <= set(classes(HOUSE / "backends"))


# -- import contracts --------------------------------------------------------------------------------------------------


def members(contract: str) -> set[str]:
    """The modules an import contract names."""
    found = configparser.ConfigParser()
    found.read(ROOT / ".importlinter")
    return set(found[f"importlinter:contract:{contract}"]["modules"].split())


def test_every_backend_is_kept_apart_from_the_others():
    folders = {path.parent.name for path in (HOUSE / "backends").glob("*/__init__.py")}
    assert members("backends-apart") == {f"interlock.backends.{folder}" for folder in folders}


def test_every_provider_is_kept_apart_from_the_others():
    found = {
        path.stem
        for path in (HOUSE / "providers").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not rules.is_protocol(node)
        if {"run", "notifications"} <= {name for name, _ in rules.functions(node)}
    }
    assert members("providers-apart") == {f"interlock.providers.{name}" for name in found}


# -- dependencies ------------------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

UNDECLARED = {
    "yarl": "aiohttp's own type of URLs; aiohttp says which version",
    "graphql": "what strawberry stands on; strawberry says which version",
    "markupsafe": "jinja2's own type of text that needs no escaping",
    "botocore": "aiobotocore's own exceptions; aiobotocore says which version",
    "localstripe": "runs in a virtual environment of its own",
    "jwt": "pyjwt's module, in the comparators' environment",
    "tf": "makes a Terraform provider, in a virtual environment of its own",
}
NOT_IMPORTED = {
    "hypothesis", "import-linter", "mypy", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "ruff",
    "schemathesis", "setuptools", "statelint",
}  # fmt: skip
"""Run, or used as plug-ins, rather than imported."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[A-Za-z0-9._-]+", one)[0]) for one in requirements}


RUNTIME = declared(PROJECT["dependencies"])
AWS = declared(PROJECT["optional-dependencies"]["aws"])
"""Of what runs on AWS alone."""
SQL = declared(PROJECT["optional-dependencies"]["sql"])
"""Of SQL for debugging, where there is room for it."""
DEV = declared(PROJECT["optional-dependencies"]["dev"])
BENCH = declared(
    [line for line in (ROOT / "bench/requirements.in").read_text().splitlines() if line[:1] not in ("", "#")]
)
"""Of the comparators and the plots, in an environment of their own."""


def imported(*folders: str) -> set[str]:
    """Top-level modules from outside that the files of these folders import."""
    found = set()
    for tree in (s.tree for folder in folders for s in rules.read(ROOT, folder)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"interlock", "tests", "bench", "docs", "infra"}


def distributions(modules: set[str]) -> dict[str, set[str]]:
    """Module -> the packages it may have come from."""
    known = importlib.metadata.packages_distributions()
    return {module: {normal(name) for name in known.get(module, [module])} for module in modules}


def test_source_imports_only_declared_dependencies():
    undeclared = {
        module for module, names in distributions(imported("src")).items() if not names & (RUNTIME | AWS | SQL)
    }
    assert undeclared - set(UNDECLARED) == set()


def test_tests_import_only_declared_dependencies():
    others = distributions(imported("tests", "bench", "docs", "infra"))
    undeclared = {module for module, names in others.items() if not names & (RUNTIME | AWS | SQL | DEV | BENCH)}
    assert undeclared - set(UNDECLARED) == set()


def test_every_runtime_dependency_is_imported_by_the_source():
    used = {name for names in distributions(imported("src")).values() for name in names}
    assert used >= RUNTIME


def test_every_dev_dependency_is_imported_or_run():
    used = {name for names in distributions(imported("tests", "bench", "docs", "infra")).values() for name in names}
    assert DEV - used - NOT_IMPORTED == set()
    assert NOT_IMPORTED <= DEV


def test_nothing_outside_the_comparators_and_the_plots_needs_their_environment():
    """The product and the benchmark's own process run without it."""
    apart = BENCH - RUNTIME - DEV | {"jwt"}
    users = {
        s.path
        for s in rules.read(ROOT, "bench")
        for node in ast.walk(s.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if normal(name.partition(".")[0]) in apart
    }
    allowed = ("bench/comparators/with_", "bench/comparators/wire.py", "bench/plots.py")
    assert [path for path in users if not path.startswith(allowed)] == []
    assert not {module for module, names in distributions(imported("src", "tests", "docs")).items() if names & apart}


def test_every_undeclared_import_is_still_there():
    assert set(UNDECLARED) <= imported("src", "tests", "bench", "docs")


def test_every_dependency_has_its_line_among_the_decisions():
    text = (ROOT / "docs/decisions/dependencies.md").read_text()
    explained = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(explained) == sorted(RUNTIME | AWS | SQL | DEV | BENCH)
    assert len(set(explained)) == len(explained)
