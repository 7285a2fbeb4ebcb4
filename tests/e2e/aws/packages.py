"""The functions' archives, made once for a tree and a lock file, in the cache."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
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
        """Archives of the functions go to `folder`; the layers, which seldom change, are kept in the cache."""
        self.functions: list[str] = package.functions()
        self._layers = layers()
        package.pack_functions(folder)
        self._folder = folder

    def archive(self, name: str) -> Path:
        return self._folder / f"{name}.zip"

    def loaded_by(self, described: Mapping[str, Any]) -> list[Path]:
        """The layers of a function described so, as Terraform gives them to it."""
        return [self._layers["dependencies"], *([self._layers["arrays"]] if described.get("arrays") else [])]


def layers() -> dict[str, Path]:
    """Each layer's packages, unpacked."""
    lock = hashlib.sha256(
        (ROOT / "src/lambdas/requirements.lock").read_bytes() + (ROOT / "src/lambdas/package.py").read_bytes()
    ).hexdigest()[:12]
    home = CACHE / f"layer-{lock}-{ARCH}"
    if not home.exists():
        # Made aside and moved at once: two who make it at the same time do not meet, and half a layer is none.
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="lambda-layer-draft-", dir=CACHE))
        for archive in package.pack_layers(ARCH, draft):
            shutil.unpack_archive(archive, draft / archive.stem.partition("-")[0])
        try:
            draft.rename(home)
        except OSError:  # somebody else was faster
            shutil.rmtree(draft, ignore_errors=True)
    return {name: home / name / "python" for name in ("dependencies", "arrays")}
