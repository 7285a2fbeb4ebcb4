"""checkov finds nothing insecure in the infrastructure but what is kept for a written reason."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.paths import require

pytestmark = [pytest.mark.aws, pytest.mark.timeout(300)]
CONFIGURATION = Path(__file__).parents[2] / "infra/terraform"
SECONDS = 240
_SKIP = re.compile(r"^  - (CKV2?_\w+)(?: +# (.+))?$", re.MULTILINE)


def kept(folder: Path = CONFIGURATION) -> dict[str, str]:
    """Check -> why what it finds is kept."""
    return dict(_SKIP.findall((folder / "checkov.yaml").read_text()))


def findings(folder: Path, *, framework: str = "terraform") -> tuple[dict[str, set[str]], dict[str, Any]]:
    """Check -> resources it refuses, and checkov's own summary."""
    done = subprocess.run(
        [str(require("checkov")), "--skip-download", "--framework", framework, "-d", str(folder), "-o", "json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    report = json.loads(done.stdout)
    found: dict[str, set[str]] = {}
    for one in report["results"]["failed_checks"]:
        found.setdefault(one["check_id"], set()).add(one["resource"])
    return found, report["summary"]


def test_findings_are_exactly_those_that_are_kept_for_a_reason():
    found, summary = findings(CONFIGURATION)
    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 300
    assert {check: sorted(places) for check, places in found.items() if check not in kept()} == {}
    assert sorted(set(kept()) - set(found)) == [], "found no longer: take it off the list"


def test_every_kept_finding_has_its_reason():
    assert len(kept()) > 10
    assert [check for check, reason in kept().items() if len(reason) < 10 and reason != "the same"] == []


def test_open_bucket_is_found(tmp_path: Path):
    """What the check above is worth."""
    (tmp_path / "main.tf").write_text('resource "aws_s3_bucket" "b" {\n  bucket = "b"\n  acl = "public-read"\n}\n')
    found, _ = findings(tmp_path)
    assert "CKV_AWS_20" in found
