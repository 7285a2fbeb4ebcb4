"""The configuration is valid for every installation, keeps its promises when planned, and agrees with the code it is for."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from interlock.backends.aws.table import INDEXES, definition
from interlock.bootstrap import QUEUES
from interlock.config import AwsSettings, KafkaSettings
from tests.counterparts.paths import require
from tests.counterparts.terraform.tool import CONFIGURATION, Terraform

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("terraform"), pytest.mark.timeout(600)]
ROOT = CONFIGURATION.parents[1]
LIVE = sorted(path.name for path in (CONFIGURATION / "live").iterdir())
MODULES = sorted(path.name for path in (CONFIGURATION / "modules").iterdir())
ELSEWHERE = {"workflows"}
"""Queues of the one-machine runner: Step Functions needs none."""


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    require("terraform")
    require("terraform-schema")
    yield Terraform(tmp_path_factory.mktemp("terraform"))


def test_format_is_terraforms_own(terraform: Terraform):
    done = terraform.run(CONFIGURATION, "fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", LIVE)
def test_installation_is_valid(terraform: Terraform, name: str):
    done = terraform.run(terraform.prepared(CONFIGURATION / "live" / name), "validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_module_is_valid_by_itself(terraform: Terraform, name: str):
    done = terraform.run(terraform.prepared(CONFIGURATION / "modules" / name), "validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_argument_that_does_not_exist_is_not_valid(terraform: Terraform, tmp_path: Path):
    """What the checks above are worth."""
    (tmp_path / "main.tf").write_text('resource "aws_sqs_queue" "q" {\n  name  = "q"\n  nmae  = "q"\n}\n')
    done = terraform.run(tmp_path, "validate", "-no-color")
    assert done.returncode == 1
    assert '"nmae" is not expected here' in done.stderr + done.stdout


def test_planned_platform_keeps_its_promises(terraform: Terraform):
    done = terraform.run(terraform.prepared(CONFIGURATION / "modules/platform"), "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_installations_differ_in_numbers_alone():
    texts = {name: (CONFIGURATION / "live" / name / "main.tf").read_text() for name in LIVE}
    shapes = {re.sub(r"= .*", "=", text) for text in texts.values()}
    assert len(shapes) == 1
    assert len({(CONFIGURATION / "live" / name / "variables.tf").read_text() for name in LIVE}) == 1


def test_table_is_the_one_the_platform_defines(terraform: Terraform, tmp_path: Path):
    module = tmp_path / "table"
    shutil.copytree(CONFIGURATION / "modules/table", module)
    ours = definition("t")
    expected = {
        "attributes": sorted(one["AttributeName"] for one in ours["AttributeDefinitions"]),
        "indexes": {
            one["IndexName"]: [
                *(key["AttributeName"] for key in one["KeySchema"]),
                one["Projection"]["ProjectionType"],
            ]
            for one in ours["GlobalSecondaryIndexes"]
        },
        "keys": [one["AttributeName"] for one in ours["KeySchema"]],
        "stream": ours["StreamSpecification"]["StreamViewType"],
        "ttl": "ttl",
    }
    (module / "shape.tftest.hcl").write_text(
        'mock_provider "aws" {}\n'
        f'variables {{\n  name = "t"\n  indexes = {json.dumps(list(INDEXES))}\n  key_arn = "k"\n  replica_regions = []\n'
        "  deletion_protection = true\n}\n"
        'run "shape" {\n  assert {\n'
        f"    condition = jsonencode(output.shape) == jsonencode(jsondecode({json.dumps(json.dumps(expected))}))\n"
        "    error_message = jsonencode(output.shape)\n  }\n}\n"
    )
    done = terraform.run(module, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_indexes_and_queues_are_those_of_the_platform():
    text = (CONFIGURATION / "modules/platform/main.tf").read_text()
    found = re.search(r"indexes += (\[.*\])", text)
    assert found is not None
    assert json.loads(found[1]) == list(INDEXES)
    queues = {
        name: (float(lease), int(attempts))
        for name, lease, attempts in re.findall(r"(\w+) = \{ lease_s = (\d+), attempts_max = (\d+) \}", text)
    }
    assert queues == {one.name: (one.lease_s, one.attempts_max) for one in QUEUES if one.name not in ELSEWHERE}


def test_settings_handed_to_functions_are_settings():
    text = (CONFIGURATION / "modules/platform/main.tf").read_text()
    block = text.partition("  aws = {\n")[2].partition("\n  }\n")[0]
    outer, _, inner = block.partition("    kafka = {\n")
    named = re.findall(r"^ +(\w+) +=", outer, re.MULTILINE)
    assert set(named) | {"kafka", "endpoint"} == set(AwsSettings.__struct_fields__)
    assert set(re.findall(r"^ +(\w+) +=", inner, re.MULTILINE)) <= set(KafkaSettings.__struct_fields__)


def test_every_function_says_what_it_is_and_may_only_what_there_is_a_word_for(terraform: Terraform):
    words = set(
        re.findall(r'^    "(\w+ \w+)" +=', (CONFIGURATION / "modules/permissions/main.tf").read_text(), re.MULTILINE)
    )
    for path in sorted((ROOT / "src/lambdas").glob("*/function.yaml")):
        said = yaml.safe_load(path.read_text())
        assert set(said) <= {
            "description",
            "memory_mb",
            "timeout_s",
            "network",
            "trigger",
            "may",
            "reserved_concurrency",
            "arrays",
        }, path
        assert len(said["trigger"]) == 1, path
        assert (path.parent / "handler.py").exists()
        assert {" ".join(line.split()[:2]) for line in said["may"]} <= words, path
