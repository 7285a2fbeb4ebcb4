"""Packs the functions: `python src/lambdas/package.py [--arch x86_64|arm64 ...] [--out FOLDER]`.

Three kinds of archive: `dependencies-ARCH.zip`, a layer with the locked packages for an architecture; `arrays-ARCH.zip`, one
with those for arrays, a quarter of them all, which functions load that say so; and `NAME.zip` for each function, its handler
and the platform; with the desk's, runbooks and what its pages load from npm. Byte code is packed with them, as a function
cannot write its own. The same tree gives the same bytes: names in order, no times, byte code that names its source by content.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCK = HERE / "requirements.lock"
PYTHON = "3.11"
PLATFORMS = {
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"),
    "arm64": ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"),
}
"""Lambda's architectures, and the wheels that run there (Amazon Linux 2023 has glibc 2.34)."""
BYTES_MAX = 50 * 1024 * 1024
"""Of one archive: what Lambda takes in one piece."""
ARRAYS = "numpy"
"""Packages whose names begin so are the layer for arrays."""
LEFT_OUT = ("tests", "test", "bin", "include", "share")
"""Of the packages: what no import reads."""
SUFFIXES_LEFT_OUT = (".pyi", ".pxd", ".pyx", ".c", ".h", ".a")
SERVICES = frozenset(
    (
        "dynamodb",
        "dynamodbstreams",
        "events",
        "kms",
        "s3",
        "scheduler",
        "secretsmanager",
        "sns",
        "sqs",
        "stepfunctions",
        "sts",
    )
)
"""Whose descriptions the SDK keeps: those of all others are half of everything there is."""
PAGES = ("http_desk",)
"""Functions that serve pages."""
CONSOLE = "interlock/entrypoints/console"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest moment an archive can name."""


def functions() -> list[str]:
    """The folders that are deployed, each a function."""
    return sorted(path.parent.name for path in HERE.glob("*/handler.py"))


def pack_functions(target: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Each function's handler, with the platform and the definitions of workflows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for tree in ("src/interlock", "workflows"):
            for path in _files(ROOT / tree):
                _copy(ROOT / tree / path, folder / Path(tree).name / path)
        for name in functions():
            _copy(HERE / name / "handler.py", folder / "handlers" / name / "handler.py")
        for name in set(PAGES) & set(names or functions()):
            for place, source in pages_load().items():
                _copy(source, folder / "handlers" / name / CONSOLE / place)
        compile_all(folder, "/var/task")
        shared = [(path, folder / path) for path in _files(folder) if path.parts[0] != "handlers"]
        return [
            _zip(target / f"{name}.zip", [*shared, *((path, inside / path) for path in _files(inside))])
            for name in names or functions()
            if (inside := folder / "handlers" / name)
        ]


def pack_layers(arch: str, target: Path) -> list[Path]:
    """The locked packages, in two layers: those for arrays and all others."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        install(arch, folder / "python")
        needed = [path for path in _files(folder) if _is_needed(Path(*path.parts[1:]))]
        for path in sorted(set(_files(folder)) - set(needed)):
            (folder / path).unlink()
        compile_all(folder / "python", "/opt/python")
        packed = [(path, folder / path) for path in _files(folder)]
        arrays = [(path, source) for path, source in packed if path.parts[1].startswith(ARRAYS)]
        others = [(path, source) for path, source in packed if not path.parts[1].startswith(ARRAYS)]
        return [_zip(target / f"dependencies-{arch}.zip", others), _zip(target / f"arrays-{arch}.zip", arrays)]


def pages_load() -> dict[str, Path]:
    """By their place in the console's folder: libraries, fetched from npm by the lock file where set-up has not, and runbooks."""
    from interlock.entrypoints.console.libraries import fetch
    from interlock.entrypoints.console.runbook_pages import FOLDERS

    books = [path for folder in FOLDERS for path in sorted((ROOT / "docs/operations" / folder).glob("*.md"))]
    return {f"static/{path.name}": path for path in fetch()} | {
        f"operations/{path.parent.name}/{path.name}": path for path in books
    }


def compile_all(folder: Path, at: str) -> None:
    """Byte code beside each source, as if it stood `at`; what is no Python of ours is passed over."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(  # noqa: S603
        [*command, "-s", str(folder), "-p", at, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
        check=False,
    )


def install(arch: str, folder: Path) -> None:
    """The locked packages for an architecture, by hash, from wheels alone."""
    wheels = [word for platform in PLATFORMS[arch] for word in ("--platform", platform)]
    command = [
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--no-deps",
        ),
        *("--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
        *wheels,
        *("--target", str(folder), "--requirement", str(LOCK)),
    ]
    subprocess.run(command, check=True)  # noqa: S603


def digest(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def _files(folder: Path) -> list[Path]:
    """Of a folder, relative to it, in order; of the tree, without its own byte code."""
    if not folder.is_dir():
        return []
    is_ours = folder.is_relative_to(ROOT)
    inside = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in inside if not (is_ours and "__pycache__" in path.parts)]


def _is_needed(inside: Path) -> bool:
    """Of the packages."""
    parts = inside.parts
    if set(parts) & set(LEFT_OUT) or inside.suffix in SUFFIXES_LEFT_OUT:
        return False
    return parts[:2] != ("botocore", "data") or len(parts) == 3 or parts[2] in SERVICES


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def _zip(archive: Path, files: Sequence[tuple[Path, Path]]) -> Path:
    """Raises ValueError for one that Lambda would not take."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, path in sorted(files):
            entry = zipfile.ZipInfo(name.as_posix(), LONG_AGO)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())
    size = archive.stat().st_size
    if size > BYTES_MAX:
        raise ValueError(f"{archive.name} has {size} bytes; {BYTES_MAX} is the most")
    return archive


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", choices=sorted(PLATFORMS))
    parser.add_argument("--out", type=Path, default=ROOT / "build/lambdas")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    made = [layer for arch in chosen.arch or sorted(PLATFORMS) for layer in pack_layers(arch, chosen.out)]
    made += pack_functions(chosen.out)
    for archive in made:
        sys.stdout.write(f"{digest(archive)}  {archive.stat().st_size:>9}  {archive.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
