"""The image's Dockerfile. No container engine builds it here: it is linted, and its parts are tried one by one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from interlock.config import PREFIX
from interlock.entrypoints.console.runbook_pages import FOLDERS, PACKED
from interlock.entrypoints.console.static_pages import LIBRARIES
from tests.containers.reading import (
    CONTAINERS,
    ROOT,
    dockerfile,
    health_check,
    image_environment,
    last_stage,
    settings_in,
)
from tests.counterparts.paths import require
from tests.free_ports import free_ports

DIGEST = re.compile(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}")


def given_to(name: str) -> list[str]:
    return [one.given for one in last_stage() if one.name == name]


def test_linter_finds_nothing() -> None:
    done = subprocess.run(
        [str(require("hadolint")), "--format", "json", "--failure-threshold", "style", str(CONTAINERS / "Dockerfile")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (json.loads(done.stdout), done.returncode) == ([], 0)


def test_both_stages_stand_on_one_base_that_is_named_by_its_digest() -> None:
    (base,) = (one.given.partition("=")[2] for one in dockerfile() if one.name == "ARG" and "=python:" in one.given)
    assert DIGEST.fullmatch(base)
    assert [one.given.split()[0] for one in dockerfile() if one.name == "FROM"] == ["${PYTHON}", "${PYTHON}"]


def test_everything_installed_is_a_wheel_with_a_locked_hash() -> None:
    installs = [
        one.given for one in dockerfile() if one.name == "RUN" and " install " in one.given and "pip" in one.given
    ]
    assert installs[0].endswith("--only-binary=:all: --require-hashes -r requirements.lock")
    lock = (CONTAINERS / "requirements.lock").read_text()
    packages = re.findall(r"^[\w.-]+==\S+(.*(?:\n    .*)*)", lock, re.MULTILINE)
    assert len(packages) > 30
    assert [one for one in packages if "--hash=sha256:" not in one] == []
    assert not any("apt-get" in one.given or "apk" in one.given for one in dockerfile())


def test_image_has_what_functions_have_in_the_same_versions_and_sql() -> None:
    ours, functions = (
        set(re.findall(r"^[\w.-]+==[\w.]+", file.read_text(), re.MULTILINE))
        for file in (CONTAINERS / "requirements.lock", ROOT / "src/lambdas/requirements.lock")
    )
    assert functions <= ours
    assert {one.partition("==")[0] for one in ours - functions} == {"duckdb", "sqlglot"}


def test_console_of_the_image_finds_its_libraries_and_its_runbooks() -> None:
    (fetched,) = (one.given for one in dockerfile() if one.name == "RUN" and "console.libraries" in one.given)
    assert fetched.endswith(f" /opt/interlock/{LIBRARIES.relative_to(sys.prefix)}")
    packed = f"/opt/interlock/lib/python3.11/site-packages/interlock/{PACKED.relative_to(ROOT / 'src/interlock')}"
    copied = [one.given.split() for one in dockerfile() if one.name == "COPY"]
    for folder in FOLDERS:
        assert [f"docs/operations/{folder}", f"{packed}/{folder}"] in copied


def test_last_stage_has_no_installer_and_its_user_is_nobody() -> None:
    assert given_to("USER") == ["10001:10001"]
    (prepared,) = given_to("RUN")
    assert prepared.startswith("python -m pip uninstall --yes")
    assert {"setuptools", "wheel", "pip"} <= set(prepared.partition("&&")[0].split())
    assert [one for one in given_to("COPY") if not one.startswith(("--from=build /opt/interlock ", "LICENSE "))] == []


def test_nothing_but_what_is_copied_reaches_the_build() -> None:
    rules = [
        line for line in (CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        part
        for one in dockerfile()
        if one.name == "COPY" and "--from" not in one.given
        for part in one.given.split()[:-1]
    }
    assert let_in == copied
    assert [path for path in let_in if not (ROOT / path).exists()] == []


def test_folder_of_packages_is_that_of_the_base_images_python() -> None:
    text = (CONTAINERS / "Dockerfile").read_text()
    assert set(re.findall(r"/lib/python([\d.]+)/", text)) == {"3.11"}
    assert "python:3.11." in text


def test_environment_of_the_image_is_made_of_settings_the_platform_takes() -> None:
    environment = image_environment()
    settings = settings_in(environment)
    assert (settings.data, settings.host) == ("/var/lib/interlock", "0.0.0.0")
    assert given_to("VOLUME") == [settings.data]
    assert not [name for name in environment if name.startswith(PREFIX) and "READY" in name]


def test_command_of_the_image_is_the_platforms_own(tmp_path: Path) -> None:
    """The few lines that stand for the installed script."""
    (written,) = (one.given for one in dockerfile() if one.name == "RUN" and one.given.startswith("printf"))
    script = tmp_path / "interlock"
    text = written.split("'")[1].replace("\\n", "\n")
    assert text.splitlines()[0] == "#!/opt/interlock/bin/python"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "cannot move money twice" in done.stdout
    assert json.loads(given_to("ENTRYPOINT")[0]) == ["interlock"]


# -- the health check ---------------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A port that answers /readyz so, and everything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def checked(port: int) -> int:
    """The health check's exit status, asked of this port."""
    url = image_environment()["READY_URL"].replace(":8080/", f":{port}/")
    program, *arguments = health_check()
    assert program == "python"
    return subprocess.run(
        [sys.executable, *arguments], env={"READY_URL": url}, capture_output=True, timeout=60, check=False
    ).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (500, False)])
def test_container_is_healthy_exactly_when_the_platform_says_it_is_ready(status: int, healthy: bool) -> None:
    with answering(status) as port:
        assert (checked(port) == 0) is healthy


def test_container_in_which_nobody_listens_is_not_healthy() -> None:
    (port,) = free_ports(1)
    assert checked(port) != 0
