"""Packs the functions: `python src/lambdas/package.py [--arch x86_64|arm64 ...] [--out FOLDER]`.

Two kinds of archive for each architecture: `dependencies-ARCH.zip`, a layer with the locked packages, and `NAME.zip` for each
function, its handler and the platform. The same tree gives the same bytes: names in order, no times, no byte code.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
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
LEFT_OUT = ("__pycache__", "tests", "test", "bin", "include", "share")
"""Of the packages: what no import reads."""
SUFFIXES_LEFT_OUT = (".pyc", ".pyi", ".pxd", ".pyx", ".c", ".h", ".a")
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
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest moment an archive can name."""


def functions() -> list[str]:
    """The folders that are deployed, each a function."""
    return sorted(path.parent.name for path in HERE.glob("*/handler.py"))


def pack_function(name: str, target: Path) -> Path:
    """The function's handler, and the platform without what only one machine needs."""
    files = [(Path("handler.py"), HERE / name / "handler.py")]
    files += [(Path("interlock") / path, ROOT / "src/interlock" / path) for path in _files(ROOT / "src/interlock")]
    files += [(Path("workflows") / path, ROOT / "workflows" / path) for path in _files(ROOT / "workflows")]
    return _zip(target / f"{name}.zip", files)


def pack_dependencies(arch: str, target: Path, *, keep: Path | None = None) -> Path:
    """The locked packages as a layer. `keep`: leave them unpacked there, too."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "python"
        install(arch, folder)
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        return _zip(
            target / f"dependencies-{arch}.zip", [(Path("python") / path, folder / path) for path in _files(folder)]
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


def _files(folder: Path) -> Iterator[Path]:
    """What is packed of a folder, relative to it, in order."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in inside.parts and (_is_ours(folder) or _is_needed(inside)):
            yield inside


def _is_needed(inside: Path) -> bool:
    """Of the packages."""
    parts = inside.parts
    if set(parts) & set(LEFT_OUT) or inside.suffix in SUFFIXES_LEFT_OUT:
        return False
    return parts[:2] != ("botocore", "data") or len(parts) == 3 or parts[2] in SERVICES


def _is_ours(folder: Path) -> bool:
    return folder.is_relative_to(ROOT)


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
    made = [pack_dependencies(arch, chosen.out) for arch in chosen.arch or sorted(PLATFORMS)]
    made += [pack_function(name, chosen.out) for name in functions()]
    for archive in made:
        sys.stdout.write(f"{digest(archive)}  {archive.stat().st_size:>9}  {archive.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
