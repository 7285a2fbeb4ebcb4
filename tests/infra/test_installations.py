"""The numbers of the installations: production's are those that money needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LIVE = Path(__file__).parents[2] / "infra/terraform/live"
NAMES = ("dev", "staging", "production")
YEAR = 365


def numbers(name: str) -> dict[str, str]:
    text = (LIVE / name / "main.tf").read_text().partition('module "platform" {')[2]
    return dict(re.findall(r"^  (\w+) += (.*)$", text, re.MULTILINE))


def test_installations_are_those_of_the_pipeline():
    assert {path.name for path in LIVE.iterdir()} == set(NAMES)


def test_production_cannot_be_deleted_by_mistake_and_is_kept_elsewhere_too():
    said = numbers("production")
    assert said["deletion_protection"] == "true"
    assert said["replica_regions"] == '["eu-west-1"]'
    assert int(said["archive_lock_days"]) >= 10 * YEAR
    assert int(said["backup_days"]) >= 35
    assert int(said["log_days"]) >= YEAR
    assert int(said["zones"]) == 3


def test_production_rolls_out_to_a_few_first():
    assert "Canary" in numbers("production")["canary"]
    assert "Canary" in numbers("staging")["canary"]


def test_production_logs_no_debug_lines():
    assert numbers("production")["log_level"] == '"info"'


@pytest.mark.parametrize("name", NAMES)
def test_state_is_encrypted_and_locked(name: str):
    text = (LIVE / name / "main.tf").read_text()
    assert re.search(r'backend "s3" \{[^}]*encrypt +?= true[^}]*use_lockfile += true', text)


def test_installations_share_no_network():
    assert len({numbers(name)["cidr"] for name in NAMES}) == len(NAMES)
