"""Moves every function's alias to its newest version, a share of the calls first: `python -m infra.canary INSTALLATION`.

CodeDeploy does it, watches the canary's alarm and takes a bad version back by itself. This starts it for each function that has a
new version and waits for all. Status 1 if one was taken back. Safe to repeat: what has arrived is left alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FUNCTIONS = Path(__file__).parents[1] / "src" / "lambdas"
NEWEST = "max_by(Versions[?Version!='$LATEST'], &to_number(Version)).Version"
ALIAS = "live"

Aws = Callable[..., str]
"""AWS's command line with these arguments, and what it writes."""


class Failed(Exception):
    """AWS's command line says no."""


def aws(*arguments: str) -> str:
    done = subprocess.run(["aws", *arguments, "--output", "text"], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode != 0:
        raise Failed(done.stderr.strip())
    return done.stdout.strip()


def functions() -> list[str]:
    return sorted(path.parent.name for path in FUNCTIONS.glob("*/function.yaml"))


def begin(installation: str, name: str, call: Aws) -> str | None:
    """The deployment that moves this function, or None if it stands at its newest version."""
    full = f"{installation}-{name}"
    now = call("lambda", "get-alias", "--function-name", full, "--name", ALIAS, "--query", "FunctionVersion")
    newest = call("lambda", "list-versions-by-function", "--function-name", full, "--query", NEWEST)
    if now == newest:
        return None
    properties = {"Name": full, "Alias": ALIAS, "CurrentVersion": now, "TargetVersion": newest}
    content = {"version": 0.0, "Resources": [{name: {"Type": "AWS::Lambda::Function", "Properties": properties}}]}
    revision = {"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(content)}}
    group = ("--application-name", installation, "--deployment-group-name", full)
    return call("deploy", "create-deployment", *group, "--revision", json.dumps(revision), "--query", "deploymentId")


def release(installation: str, call: Aws = aws) -> list[str]:
    """The functions that did not arrive, each with the reason."""
    begun, lost = {}, []
    for name in functions():
        try:
            if (deployment := begin(installation, name, call)) is not None:
                begun[name] = deployment
        except Failed as error:
            lost.append(f"{name}: {error}")
    for name, deployment in begun.items():
        try:
            call("deploy", "wait", "deployment-successful", "--deployment-id", deployment)
        except Failed as error:
            lost.append(f"{name}: {deployment}: {error}")
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("installation", help="e.g. interlock-dev")
    lost = release(parser.parse_args().installation)
    sys.stderr.writelines(f"{one}\n" for one in lost)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
