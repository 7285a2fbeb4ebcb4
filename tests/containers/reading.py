"""What stands in the files of `infra/containers` and what the chart renders, as values."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import yaml

from interlock.config import FIELDS, PREFIX, Settings
from tests.counterparts.paths import require

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "infra/containers"
CHART = ROOT / "infra/helm/interlock"
EXAMPLE = CHART / "ci/example.yaml"
KUBERNETES_VERSIONS = ("1.30", "1.37")
"""The oldest the chart takes, and the newest whose schemas are at hand."""
PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?|[\w./-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}")
"""By an exact tag or a digest."""


class Instruction(NamedTuple):
    name: str
    given: str


def dockerfile() -> list[Instruction]:
    """Its instructions in order, continued lines joined, comments left out."""
    lines = [line for line in (CONTAINERS / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [Instruction(name, given.strip()) for name, given in parts]


def last_stage() -> list[Instruction]:
    instructions = dockerfile()
    start = max(at for at, one in enumerate(instructions) if one.name == "FROM")
    return instructions[start:]


def image_environment() -> dict[str, str]:
    """As it is when the build is given nothing."""
    given = dict(one.given.split("=", 1) for one in last_stage() if one.name == "ARG")
    found = {}
    for one in last_stage():
        if one.name == "ENV":
            found |= dict(Template(pair).safe_substitute(given).split("=", 1) for pair in one.given.split())
    return found


def health_check() -> list[str]:
    (given,) = (one.given for one in last_stage() if one.name == "HEALTHCHECK")
    command: list[str] = json.loads(given.partition("CMD ")[2])
    return command


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    return read


def settings_in(environment: Mapping[str, str]) -> Settings:
    """What the platform makes of these variables. Raises SettingsError for any it would refuse."""
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    if "aws" not in FIELDS:  # a platform that knows nothing of AWS yet has nothing to say to this
        ours.pop(f"{PREFIX}AWS", None)
    return Settings.load(file=None, environment=ours)


# -- the chart ----------------------------------------------------------------------------------------------------------


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(require("helm")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def rendered(
    values: Path = EXAMPLE, *sets: str, release: str = "pay", namespace: str = "payments"
) -> list[dict[str, Any]]:
    """What Kubernetes would be told."""
    done = render(values, *sets, release=release, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def render(
    values: Path, *sets: str, release: str = "pay", namespace: str = "payments"
) -> subprocess.CompletedProcess[str]:
    given = [part for one in sets for part in ("--set-json", one)]
    where = ["--kube-version", f"{KUBERNETES_VERSIONS[0]}.0", "--namespace", namespace]
    return helm("template", release, str(CHART), *where, "--values", str(values), *given)


def of_kind(objects: Iterable[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()
