"""A release moves what is not at its newest version, waits for all, and says which were taken back."""

import json

import pytest

from infra import canary
from infra.canary import Failed


class Account:
    """AWS's command line over two functions: one has a new version."""

    def __init__(self, *, taken_back=()):
        self.calls = []
        self._taken_back = taken_back

    def __call__(self, *arguments):
        self.calls.append(arguments)
        given = dict(zip(arguments[2::2], arguments[3::2], strict=False))
        match arguments[:2]:
            case ("lambda", "get-alias"):
                return "3"
            case ("lambda", "list-versions-by-function"):
                return "3" if given["--function-name"].endswith("-sweep") else "4"
            case ("deploy", "create-deployment"):
                return f"d-{given['--deployment-group-name']}"
            case ("deploy", "wait"):
                if arguments[-1] in self._taken_back:
                    raise Failed("Waiter DeploymentSuccessful failed")
                return ""
        raise AssertionError(arguments)

    def made(self, verb):
        return [call for call in self.calls if call[1] == verb]


@pytest.fixture(autouse=True)
def two_functions(monkeypatch):
    monkeypatch.setattr(canary, "functions", lambda: ["http_api", "sweep"])


def test_only_functions_with_a_new_version_are_moved():
    account = Account()
    assert canary.release("interlock-dev", account) == []
    (made,) = account.made("create-deployment")
    content = json.loads(json.loads(made[made.index("--revision") + 1])["appSpecContent"]["content"])
    assert content["Resources"] == [
        {
            "http_api": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Name": "interlock-dev-http_api",
                    "Alias": "live",
                    "CurrentVersion": "3",
                    "TargetVersion": "4",
                },
            }
        }
    ]
    assert account.made("wait") == [
        ("deploy", "wait", "deployment-successful", "--deployment-id", "d-interlock-dev-http_api")
    ]


def test_function_that_was_taken_back_is_named():
    account = Account(taken_back=["d-interlock-dev-http_api"])
    (lost,) = canary.release("interlock-dev", account)
    assert lost.startswith("http_api: d-interlock-dev-http_api: ")


def test_function_that_cannot_be_asked_about_does_not_hold_up_the_others():
    account = Account()

    def call(*arguments):
        if "interlock-dev-sweep" in arguments:
            raise Failed("AccessDenied")
        return account(*arguments)

    assert canary.release("interlock-dev", call) == ["sweep: AccessDenied"]
    assert len(account.made("wait")) == 1
