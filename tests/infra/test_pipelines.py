"""Both pipelines are such that their machines take them, call targets that exist, and let nothing reach production by itself."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.counterparts.paths import require

ROOT = Path(__file__).parents[2]
GITLAB, GITHUB = ROOT / ".gitlab-ci.yml", ROOT / ".github/workflows/ci.yml"
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
STACKS = ("dev", "staging", "production")
CHECKS = {"check", "check-infra", "test", "test-aws", "lambdas"}


def called(path):
    return set(re.findall(r"make ([a-z-]+)", path.read_text()))


@pytest.mark.parametrize("path", [GITLAB, GITHUB], ids=["gitlab", "github"])
def test_pipeline_calls_every_check_and_step_by_targets_that_exist(path):
    assert called(path) - {"targets"} == CHECKS | {"plan", "deploy", "release-check"}
    assert called(path) - {"targets"} <= TARGETS


@pytest.mark.parametrize(
    ("path", "schema"),
    [(GITLAB, ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]), (GITHUB, ["vendor.github-workflows"])],
    ids=["gitlab", "github"],
)
def test_pipeline_is_what_its_machine_understands(path, schema):
    command = [require("check-jsonschema"), "--builtin-schema", *schema, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_gitlab_deploys_one_after_the_other_and_asks_before_staging_and_production():
    jobs = yaml.safe_load(GITLAB.read_text())
    for before, stack in zip((None, *STACKS), STACKS, strict=False):
        plan, deploy = jobs[f"plan-{stack}"], jobs[f"deploy-{stack}"]
        assert before is None or f"deploy-{before}" in plan["needs"]
        assert deploy["needs"] == [f"plan-{stack}"]
        assert plan["variables"] == deploy["variables"]
        assert deploy["variables"]["STACK"] == deploy["environment"]["name"] == stack
        if stack != "dev":
            assert [rule["when"] for rule in deploy["rules"]] == ["manual"]
            assert deploy["allow_failure"] is False, "else what follows would not wait"
    assert set(jobs[".plan"]["needs"]) == CHECKS
    assert jobs[".deploy"]["script"] == ["make deploy STACK=$STACK", "make release-check STACK=$STACK"]


def test_github_deploys_one_after_the_other_in_environments_that_reviewers_guard():
    jobs = yaml.safe_load(GITHUB.read_text())["jobs"]
    for before, stack in zip((None, *STACKS), STACKS, strict=False):
        plan, deploy = jobs[f"plan-{stack}"], jobs[f"deploy-{stack}"]
        assert set(plan["needs"]) == (CHECKS if before is None else {f"deploy-{before}"})
        assert deploy["needs"] == [f"plan-{stack}"]
        assert (plan["environment"], deploy["environment"]) == (f"{stack}-plan", stack)
        assert [step["run"] for step in deploy["steps"] if step.get("run", "").startswith("make")] == [
            f"make deploy STACK={stack}",
            f"make release-check STACK={stack}",
        ]
        for job in (plan, deploy):
            assert job["if"] == "github.event_name == 'push'", "not for anybody's pull request"


@pytest.mark.parametrize("path", [GITLAB, GITHUB], ids=["gitlab", "github"])
def test_pipeline_keeps_no_key_of_aws(path):
    assert not re.search(r"AWS_SECRET|AWS_ACCESS_KEY|aws-secret-access-key|\$\{\{ *secrets\.", path.read_text())
