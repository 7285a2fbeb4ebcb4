"""The numbers of the installations: production's are those that money needs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

LIVE = Path(__file__).parents[2] / "infra/terraform/live"
NAMES = ("dev", "staging", "production", "standby")
YEAR = 365


def numbers(name: str) -> dict[str, str]:
    text = (LIVE / name / "main.tf").read_text().partition('module "platform" {')[2]
    return dict(re.findall(r"^  (\w+) += (.*)$", text, re.MULTILINE))


def test_there_are_four_installations():
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


def test_standby_is_production_elsewhere_and_never_runs_beside_it():
    production, standby = numbers("production"), numbers("standby")
    assert (production["active"], standby["active"]) == ("!var.took_over", "var.took_over")
    assert standby["takes_over"] == production["name"]
    assert re.findall('region = "(.*)"', (LIVE / "standby/main.tf").read_text()) == json.loads(
        production["replica_regions"]
    )
    own = {"name", "takes_over", "active", "replica_regions", "cidr"}
    assert {key: value for key, value in standby.items() if key not in own} == {
        key: value for key, value in production.items() if key not in own
    }
