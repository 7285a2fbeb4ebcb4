"""Break each adapter on purpose and see the contract tests fail.

    python -m tests.contracts.breakages [part of a name ...]    try them all, or those whose name holds one of the words
    python -m tests.contracts.breakages --write-readme          bring the list in README.md up to date

Each breakage changes one place in a copy of the source tree; the test it names must pass on the untouched copy and fail
on the broken one. Exit status 1 if a breakage survives or no longer fits the source. The lists are in `breakages_*.py`
beside this file, each with a tuple `BREAKAGES`.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCE = ROOT / "src"
README = HERE / "README.md"
TEST_TIMEOUT_S = 20
PARALLEL = 2


class Breakage(NamedTuple):
    name: str
    """What the adapter does wrong, in a few words that begin with the adapter."""
    file: str
    """Below src/interlock."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    test: str
    """The test that must fail, as `module.py::function`; its module is beside this file, or `folder/module.py` below tests."""
    only: str = ""
    """Further choice among the function's parameters: the test's id must hold this, such as the adapter."""


class Trial(NamedTuple):
    breakage: Breakage
    verdict: str
    """`caught`, or what is wrong."""


def breakages() -> list[Breakage]:
    """All of them, list by list."""
    lists = (importlib.import_module(f"tests.contracts.{path.stem}") for path in sorted(HERE.glob("breakages_*.py")))
    return [breakage for found in lists for breakage in found.BREAKAGES]


def fits(breakage: Breakage) -> bool:
    """Whether the place to break is still there, once."""
    return (SOURCE / "interlock" / breakage.file).read_text().count(breakage.old) == 1


def path_of(test: str) -> str:
    """From the root of the repository."""
    return f"tests/{test}" if "/" in test.partition("::")[0] else f"tests/contracts/{test}"


def run_tests(source: Path, tests: Sequence[str], *, only: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # pytest would put the real source first; processes that the tests start look at the environment.
    command += ["-o", f"pythonpath=. {source}"]
    command += ["-m", "aws or not aws"]
    command += [f"--timeout={TEST_TIMEOUT_S}", *(["-k", only] if only else []), *tests]
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def copy_source(to: Path) -> Path:
    shutil.copytree(SOURCE, to, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return to


def attempt(breakage: Breakage) -> Trial:
    """Apply one breakage to a copy of the source and run its test."""
    if not fits(breakage):
        return Trial(breakage, "DOES NOT FIT the source any more")
    with tempfile.TemporaryDirectory() as folder:
        source = copy_source(Path(folder) / "src")
        file = source / "interlock" / breakage.file
        file.write_text(file.read_text().replace(breakage.old, breakage.new))
        done = run_tests(source, [path_of(breakage.test)], only=breakage.only)
    failed = re.search(rf"^FAILED {re.escape(path_of(breakage.test))}", done.stdout, re.MULTILINE)
    if done.returncode == 1 and failed:
        return Trial(breakage, "caught")
    if done.returncode == 0:
        return Trial(breakage, "SURVIVED")
    return Trial(breakage, f"BROKE THE RUN itself:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")


def sound_without_breakage(chosen: Sequence[Breakage]) -> bool:
    """The same tests on an untouched copy: they must pass."""
    with tempfile.TemporaryDirectory() as folder:
        source = copy_source(Path(folder) / "src")
        done = run_tests(source, sorted({path_of(breakage.test) for breakage in chosen}))
    if done.returncode != 0:
        print(done.stdout[-4000:], done.stderr[-2000:])
        print("the tests fail without any breakage")
    return done.returncode == 0


def table(chosen: Sequence[Breakage]) -> str:
    rows = [f"| {breakage.name} | `{breakage.file}` | `{breakage.test}` |" for breakage in chosen]
    return "\n".join(["| what is broken | where | the test that fails |", "|---|---|---|", *rows]) + "\n"


LIST_START, LIST_END = "<!-- list: start -->\n", "<!-- list: end -->\n"


def readme_with(chosen: Sequence[Breakage]) -> str:
    """README.md with its list brought up to date."""
    head, _, rest = README.read_text().partition(LIST_START)
    return head + LIST_START + table(chosen) + LIST_END + rest.partition(LIST_END)[2]


def main(arguments: Sequence[str]) -> int:
    everything = breakages()
    if "--write-readme" in arguments:
        README.write_text(readme_with(everything))
        return 0
    chosen = [one for one in everything if not arguments or any(word in one.name for word in arguments)]
    if not chosen or not sound_without_breakage([one for one in chosen if fits(one)]):
        return 1
    with ThreadPoolExecutor(PARALLEL) as pool:
        trials = []
        for trial in pool.map(attempt, chosen):
            print(f"{trial.verdict:10} {trial.breakage.name}  [{trial.breakage.test}]", flush=True)
            trials.append(trial)
    escaped = [trial for trial in trials if trial.verdict != "caught"]
    print(f"{len(trials) - len(escaped)} of {len(trials)} breakages caught")
    return 1 if escaped else 0


if __name__ == "__main__":
    # Under its own name, so that the lists share this module's classes.
    sys.exit(importlib.import_module("tests.contracts.breakages").main(sys.argv[1:]))
