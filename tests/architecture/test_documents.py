"""The documents say what is there: links, paths and tests exist, and what must be complete is."""

import ast
import configparser
import re
import tomllib
from pathlib import Path

import pytest

from interlock import bootstrap
from interlock.core.kernel import ids
from interlock.entrypoints import local
from tests.architecture import rules
from tests.architecture.test_structure import CONTRACTS, CORE, FEATURES, HOUSE, adapters, ports

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob("src/**/*.md"))
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_relative_link_leads_to_a_file(document):
    path = ROOT / document
    links = [link for link in LINK.findall(path.read_text()) if not re.match(r"[a-z]+:", link)]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_every_name_on_the_tour_is_defined_in_the_file_it_is_linked_to():
    text = (ROOT / "docs/tour.md").read_text()
    pairs = re.findall(r"`(\w+)`(?:[^`\[]*?)\sin\s+\[[^\]]+\]\(\.\./([^)]+)\)", text)
    assert len(pairs) >= 14
    for name, file in pairs:
        source = (ROOT / file).read_text()
        assert re.search(rf"^(?:async def|def|class) {name}\b|^{name}\b\s*[:=]", source, re.MULTILINE), (name, file)


def test_the_readme_is_at_most_eighty_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_the_tour_has_nine_hops():
    assert len(re.findall(r"^\d+\. ", (ROOT / "docs/tour.md").read_text(), re.MULTILINE)) == 9


# -- what documents name -----------------------------------------------------------------------------------------------

TESTS = {name.rpartition(".")[2] for s in rules.read(ROOT, "tests") for name, _ in rules.functions(s.tree)} | {
    path.stem for path in ROOT.glob("tests/**/test_*.py")
}
PATH = re.compile(r"`((?:src|tests|docs|bench|openapi|core|backends|entrypoints|providers|simulator)/[\w./-]*)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_test_a_document_names_is_there(document):
    prose = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\btest_\w+", prose))
    assert named - TESTS == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_path_a_document_names_is_there(document):
    named = PATH.findall((ROOT / document).read_text())
    assert [path for path in named if not any((base / path).exists() for base in (ROOT, HOUSE))] == []


# -- folders and their READMEs -----------------------------------------------------------------------------------------

EXPLAINED = [*(CORE / feature for feature in (*FEATURES, "desk", "kernel")), HOUSE / "providers", HOUSE / "simulator"]
OUTLINED = [HOUSE / "backends", HOUSE / "entrypoints"]


def rows(text: str) -> set[str]:
    """What stands in the first column of the tables."""
    return {name for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("folder", EXPLAINED, ids=lambda folder: folder.name)
def test_readme_of_a_folder_says_where_each_file_comes_in_reading(folder):
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    named = rows((folder / "README.md").read_text())
    assert files - named == set(), "not explained"
    assert {name for name in named if name.endswith(".py")} - files == set(), "no longer there"


@pytest.mark.parametrize("folder", OUTLINED, ids=lambda folder: folder.name)
def test_readme_of_a_folder_of_folders_outlines_all_of_them(folder):
    inside = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
    named = rows((folder / "README.md").read_text())
    assert {one for one in inside if one not in ("__init__.py", "__pycache__/", "README.md")} - named == set()
    assert {one for one in named if not (folder / one).exists()} == set()


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_has_its_page(feature):
    assert (ROOT / f"docs/features/{feature.partition('/')[0]}.md").exists()


@pytest.mark.parametrize("kind", bootstrap.PROVIDER_KINDS)
def test_every_provider_has_its_page(kind):
    assert (ROOT / f"docs/providers/{kind}.md").exists()


# -- architecture ------------------------------------------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def test_tree_in_the_architecture_is_the_tree():
    drawn, parent = set(), ""
    for indent, name in re.findall(
        r"^( +)([\w.]+/?)(?= |$)", ARCHITECTURE.partition("src/interlock/")[2].partition("\ndocs/")[0], re.M
    ):
        parent = name if len(indent) == 2 and name.endswith("/") else parent if len(indent) > 2 else ""
        drawn.add(f"{parent}{name}" if len(indent) > 2 else name)
    there = {
        path.relative_to(HOUSE).as_posix() + ("/" if path.is_dir() else "")
        for parent in (HOUSE, CORE, HOUSE / "backends", HOUSE / "entrypoints")
        for path in parent.iterdir()
        if path.name not in ("__pycache__", "__init__.py", "README.md", "py.typed")
    }
    assert drawn == there


def test_ports_in_the_architecture_are_the_ports_with_their_adapters():
    table = {
        cells[0].strip("` "): cells[2]
        for line in ARCHITECTURE.splitlines()
        if line.startswith("| `") and len(cells := line.strip("|").split(" | ")) == 3
    }
    assert set(table) >= set(CONTRACTS)
    assert {name for name in table if name in ports()} == set(CONTRACTS) | {"Telemetry"}
    for port in CONTRACTS:
        assert set(re.findall(r"`(\w+)`", table[port])) - {"ManualClock"} == adapters(port), port


def test_import_rules_in_the_architecture_are_those_enforced():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    enforced = [contracts[section]["name"] for section in contracts.sections() if "contract:" in section]
    told = re.findall(r"^\d+\. \*\*(.+?)\.\*\*", ARCHITECTURE, re.MULTILINE)
    assert told == enforced


def test_loops_in_the_architecture_are_those_the_worker_runs():
    worker, effects = (ast.parse((HOUSE / f"entrypoints/{name}.py").read_text()) for name in ("worker", "effects"))
    named = {
        node.args[0].value
        for node in ast.walk(worker)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Loop" and isinstance(node.args[0], ast.Constant)
    }
    groups = next(node for node in effects.body if isinstance(node, ast.FunctionDef) and node.name == "effects")
    keys = {
        key.value
        for node in ast.walk(groups)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    queues = {queue.name for queue in bootstrap.QUEUES}
    table = ARCHITECTURE.partition("| loop |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == named | keys | queues


def test_files_of_the_data_folder_are_named_in_the_architecture():
    table = ARCHITECTURE.partition("| file | what |")[2].partition("\n\n")[0]
    files = {
        bootstrap.DATABASE_FILE,
        bootstrap.SECRETS_FILE,
        f"{bootstrap.BLOBS_FOLDER}/",
        local.LOG_FILE,
        local.READY_FILE,
    }
    assert files <= set(re.findall(r"`([^`]+)`", table))


# -- decisions ---------------------------------------------------------------------------------------------------------

DECISIONS = sorted(path for path in (ROOT / "docs/decisions").glob("*.md") if path.name != "README.md")
PARTS = ("**Context.**", "**Decision.**", "**Consequences.**", "**Reversed if**")


def test_every_decision_is_in_the_index_once_under_its_title():
    index = re.findall(r"^- \[(.+)\]\((\S+)\)$", (ROOT / "docs/decisions/README.md").read_text(), re.MULTILINE)
    titles = {path.name: path.read_text().splitlines()[0].removeprefix("# ") for path in DECISIONS}
    assert sorted((file, title) for title, file in index) == sorted(titles.items())


@pytest.mark.parametrize(
    "path", [path for path in DECISIONS if path.name != "dependencies.md"], ids=lambda path: path.stem
)
def test_decision_is_short_and_says_what_would_reverse_it(path):
    text = path.read_text()
    assert [part for part in PARTS if text.count(f"\n{part}") != 1] == []
    assert [text.index(part) for part in PARTS] == sorted(text.index(part) for part in PARTS)
    assert len(text.splitlines()) <= 20


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_glossary_is_in_order_and_has_each_word_once():
    words = re.findall(
        r"^\| ([A-Za-z -]+?) \|", (ROOT / "docs/glossary.md").read_text().partition("## Ids")[0], re.MULTILINE
    )[1:]
    assert len(words) > 50
    assert words == sorted(set(words), key=str.lower)


def test_glossary_knows_every_prefix_of_ids():
    prefixes = {
        f"{value}_" for name, value in vars(ids).items() if name.isupper() and name[0] != "_" and isinstance(value, str)
    }
    told = re.findall(r"^\| `(\w+_)` \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert told == sorted(prefixes)


def test_changelog_has_the_present_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_make_targets_are_explained_to_contributors():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert told <= targets
    assert targets - told <= {"help", "clean"}
