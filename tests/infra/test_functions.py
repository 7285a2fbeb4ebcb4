"""Every function.yaml is as its schema says, and a new one is all that a new function needs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.counterparts.paths import require
from tests.counterparts.terraform.tool import CONFIGURATION, ROOT, Terraform

FUNCTIONS = ROOT / "src/lambdas"
NAMES = sorted(path.parent.name for path in FUNCTIONS.glob("*/function.yaml"))
SCHEMA = json.loads((FUNCTIONS / "function.schema.json").read_text())
CHECKED = Draft202012Validator(SCHEMA)


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FUNCTIONS / name / "function.yaml").read_text())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_function_is_described_as_the_schema_says(name: str):
    assert [error.message for error in CHECKED.iter_errors(described(name))] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trigger": {"http": {"prefix": "/desk", "methods": ["LOOK"]}}}, "is not one of"),
        ({"trigger": {"http": {"prefix": "/"}, "workflow": {}}}, "too many properties"),
        ({"trigger": {"http": {"prefix": "v1"}}}, "does not match"),
        ({"may": ["write everything"]}, "is not valid"),
        ({"may": ["send queue"]}, "is not valid"),
        ({"may": ["read secrets"]}, "is not valid"),
        ({"timeout_s": 901}, "greater than the maximum"),
        ({"memory": 512}, "Additional properties"),
    ],
)
def test_fault_in_a_description_is_refused(change: dict[str, Any], message: str):
    faults = [error.message for error in CHECKED.iter_errors(described("sweep") | change)]
    assert len(faults) == 1 and message in faults[0]


def test_words_of_the_schema_are_those_of_the_permissions():
    items = SCHEMA["properties"]["may"]["items"]["anyOf"]
    said = set(items[0]["enum"]) | {"send queue", "receive queue", "mend queue", "publish topic", "start workflow"}
    said |= {f"{verb} {noun}" for verb in ("read", "write") for noun in ("blobs", "secrets")}
    text = (CONFIGURATION / "modules/permissions/main.tf").read_text()
    words = set(re.findall(r'^    "(\w+ \w+)" += \[', text, re.MULTILINE))
    ours = set(json.loads(re.findall(r"said_by_us = (\[.*\])", text)[0]))
    assert said == words - ours


def test_words_of_the_schema_are_explained():
    explained = (FUNCTIONS / "README.md").read_text().partition("## may")[2]
    for word in SCHEMA["properties"]["may"]["items"]["anyOf"][0]["enum"]:
        assert f"`{word}`" in explained


def test_function_leaves_its_queue_time_enough():
    text = (CONFIGURATION / "modules/platform/main.tf").read_text()
    leases = {name: int(lease) for name, lease in re.findall(r"(\w+) += \{ lease_s = (\d+)", text)}
    called = {
        how["queue"]["name"]: one["timeout_s"]
        for name in NAMES
        if "queue" in (how := (one := described(name))["trigger"])
    }
    assert set(called) == set(leases)
    for queue, timeout_s in called.items():
        assert timeout_s < leases[queue]


def test_function_in_the_network_says_what_for():
    outside = {"publish bus", "consume bus", "write documents", "call providers", "call anywhere"}
    for name in NAMES:
        if outside & set(described(name)["may"]):
            assert described(name)["network"], f"{name} stands outside the network that it needs"


@pytest.mark.aws
@pytest.mark.xdist_group("terraform")
@pytest.mark.timeout(600)
def test_new_folder_is_a_new_function_and_nothing_else_is_touched(tmp_path: Path):
    require("terraform")
    require("terraform-schema")
    tree = tmp_path / "tree"
    for place in ("infra", "src/lambdas", "workflows", "openapi"):
        shutil.copytree(ROOT / place, tree / place)
    (tree / "src/lambdas/count_coins").mkdir()
    (tree / "src/lambdas/count_coins/function.yaml").write_text(
        "description: Counts coins.\nmemory_mb: 128\ntimeout_s: 5\nnetwork: false\n"
        "trigger:\n  schedule:\n    every: rate(1 day)\nmay:\n  - read table\n"
    )
    platform = tree / "infra/terraform/modules/platform"
    test = platform / "tests/promises.tftest.hcl"
    given = test.read_text().partition('run "promises"')[0]
    test.write_text(
        given + 'run "counts" {\n  command = apply\n  assert {\n'
        '    condition = output.functions["count_coins"] == "interlock-test-count_coins"\n'
        '    error_message = "not deployed"\n  }\n  assert {\n'
        '    condition = output.statements["count_coins"][0].Action[0] == "dynamodb:GetItem"\n'
        '    error_message = jsonencode(output.statements["count_coins"])\n  }\n}\n'
    )
    terraform = Terraform(tmp_path)
    done = terraform.run(terraform.prepared(platform), "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 0 failed" in done.stdout
