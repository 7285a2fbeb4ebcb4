"""The virtual environment of the comparators and the plots: made once from bench/requirements.lock, outside the tree."""

from __future__ import annotations

import shutil
import subprocess
import venv
from hashlib import sha256
from pathlib import Path

from bench.processes import ROOT
from tests.counterparts.paths import CACHE

LOCK = ROOT / "bench" / "requirements.lock"


def home() -> Path:
    """Where it is, or will be: another lock file gives another folder."""
    return CACHE / f"bench-{sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def python() -> str:
    return str(home() / "bin" / "python")


def is_installed() -> bool:
    return (home() / ".complete").exists()


def install() -> None:
    """Safe to repeat. Raises CalledProcessError with pip's words on the terminal."""
    if is_installed():
        return
    shutil.rmtree(home(), ignore_errors=True)
    venv.create(home(), with_pip=True)
    arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)]
    subprocess.run([python(), *arguments], check=True)
    (home() / ".complete").touch()
