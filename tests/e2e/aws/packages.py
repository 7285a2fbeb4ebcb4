"""The functions' archives, made once for a tree and a lock file, in the cache."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.counterparts.paths import CACHE

ROOT = Path(__file__).parents[3]
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


def _module() -> Any:
    spec = spec_from_file_location("lambda_package", ROOT / "src/lambdas/package.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["lambda_package"] = module
    spec.loader.exec_module(module)
    return module


package = _module()
"""src/lambdas/package.py, which is no part of a package."""


class Packages:
    def __init__(self, folder: Path) -> None:
        """Archives of the functions go to `folder`; the layer, which seldom changes, is kept in the cache."""
        self.functions: list[str] = package.functions()
        self.layer = layer()
        package.pack_functions(folder)
        self._folder = folder

    def archive(self, name: str) -> Path:
        return self._folder / f"{name}.zip"


def layer() -> Path:
    """The layer's packages, unpacked."""
    lock = hashlib.sha256(
        (ROOT / "src/lambdas/requirements.lock").read_bytes() + (ROOT / "src/lambdas/package.py").read_bytes()
    ).hexdigest()[:12]
    home = CACHE / f"lambda-layer-{lock}-{ARCH}"
    if not (home / ".complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        archive = package.pack_dependencies(ARCH, home)
        shutil.unpack_archive(archive, home)
        (home / ".complete").touch()
    return home / "python"
