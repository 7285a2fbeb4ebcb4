"""The policies of the functions as Terraform makes them, for an emulator that holds them to it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.counterparts.paths import require
from tests.counterparts.terraform.tool import CONFIGURATION

SECONDS = 120
Statements = list[dict[str, Any]]
ROOT = """
variable "functions" {{ type = any }}
variable "places" {{ type = any }}
variable "region" {{ type = string }}

module "permissions" {{
  source   = "{permissions}"
  for_each = var.functions
  may      = each.value.may
  trigger  = one(keys(each.value.trigger))
  network  = try(each.value.network, false)
  places   = var.places
  region   = var.region
}}

output "statements" {{ value = {{ for name, one in module.permissions : name => one.statements }} }}
"""


def rendered(
    scratch: Path, functions: Mapping[str, Any], *, places: Mapping[str, str], region: str
) -> dict[str, Statements]:
    """Function -> the statements of its policy. `functions`: name -> its function.yaml; `places` as modules/permissions has them.

    No provider and no account are needed: the module makes nothing.
    """
    program = str(require("terraform"))
    folder = scratch / "policies"
    folder.mkdir()
    (folder / "main.tf").write_text(ROOT.format(permissions=CONFIGURATION / "modules/permissions"))
    given = {"functions": functions, "places": places, "region": region}
    (folder / "given.auto.tfvars.json").write_text(json.dumps(given))
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def run(*arguments: str) -> str:
        command = (program, *arguments)
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "-input=false", "-no-color")
    run("apply", "-auto-approve", "-input=false", "-no-color")
    found: dict[str, Statements] = json.loads(run("output", "-json", "statements"))
    return found
