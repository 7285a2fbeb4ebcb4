"""What is in the functions' archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from interlock.entrypoints.console.libraries import FILES, fetch
from tests.counterparts.terraform.tool import ROOT
from tests.e2e.aws.packages import package

STATIC = f"{package.CONSOLE}/static"
LIBRARIES = {f"{STATIC}/{Path(file).name}" for file in FILES}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = package.pack_functions(tmp_path_factory.mktemp("archives"), ["http_desk", "http_api"])
    return {path.stem: path for path in made}


def test_desks_archive_has_the_libraries_of_its_pages_as_npm_gave_them(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["http_desk"]) as packed:
        assert set(packed.namelist()) >= LIBRARIES
        for path in fetch():
            assert packed.read(f"{STATIC}/{path.name}") == path.read_bytes()


def test_desks_archive_has_every_runbook(archives: dict[str, Path]) -> None:
    books = sorted(ROOT.glob("docs/operations/alarms/*.md")) + sorted(ROOT.glob("docs/operations/slo/*.md"))
    assert len(books) > 30
    with zipfile.ZipFile(archives["http_desk"]) as packed:
        for path in books:
            assert packed.read(f"{package.CONSOLE}/operations/{path.parent.name}/{path.name}") == path.read_bytes()


def test_no_other_archive_has_them(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["http_api"]) as packed:
        assert LIBRARIES & set(packed.namelist()) == set()
        assert f"{STATIC}/console.js" in packed.namelist()


def test_same_tree_gives_the_same_bytes(archives: dict[str, Path], tmp_path: Path) -> None:
    again = package.pack_functions(tmp_path, list(archives))
    assert {path.stem: package.digest(path) for path in again} == {
        name: package.digest(path) for name, path in archives.items()
    }
