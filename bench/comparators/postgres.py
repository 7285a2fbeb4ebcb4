"""A PostgreSQL server of the benchmark's own: a fresh cluster in a temporary folder, a socket there, no port.

Durable as it is shipped: fsync, full_page_writes and synchronous_commit are on. Tuned where that helps and costs no safety.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import machine, processes

SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_buffers": "16MB",
    "max_connections": "120",
    "jit": "off",
    "track_activities": "off",
}
TOOLS = ("initdb", "postgres", "psql", "createdb")
_PLACES = ("/usr/local/bin", *(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))
_OWNERS = ("postgres", "nobody")


def find(tool: str) -> str | None:
    """Where a tool of PostgreSQL's is on this machine, if it is."""
    return shutil.which(tool) or shutil.which(tool, path=os.pathsep.join(_PLACES))


def is_installed() -> bool:
    return all(find(tool) for tool in TOOLS)


class Postgres:
    """A running server. `stop` ends it and removes its files."""

    def __init__(self, *, cores: Iterable[int]) -> None:
        """Raises FileNotFoundError when PostgreSQL is not there, DidNotStart."""
        if not is_installed():
            raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
        self._user = _owner()
        self.folder = Path(tempfile.mkdtemp(prefix="interlock-bench-pg-"))
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        self._run(
            "initdb", "-N", "-D", str(self.folder / "data"), "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"
        )
        command = [str(find("postgres")), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        log = Path(tempfile.mkstemp(prefix="interlock-bench-pg-", suffix=".log")[1])
        self._child = processes.start(command, log=log, cores=cores, user=self._user)
        try:
            self._child.until(lambda: (self.folder / ".s.PGSQL.5432").exists() and self._answers())
        except processes.DidNotStart:
            self.stop()
            raise

    def make_database(self, name: str) -> str:
        """An empty database with the comparators' tables; how to reach it."""
        self._run("createdb", "-h", str(self.folder), "-U", "bench", name)
        schema = Path(__file__).with_name("schema.sql").read_text()
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", *self._at(name), stdin=schema)
        return f"postgresql://bench@/{name}?host={self.folder}"

    def ask(self, database: str, statement: str) -> list[list[str]]:
        """The rows of one statement, as text."""
        text = self._run("psql", "-A", "-t", "-F", "\t", *self._at(database), "-c", statement)
        return [line.split("\t") for line in text.splitlines() if line]

    def pin(self, cores: Iterable[int]) -> None:
        machine.pin(self.pids(), cores)

    def pids(self) -> list[int]:
        return self._child.pids

    def stop(self) -> None:
        self._child.stop(signal.SIGQUIT)  # at once: nobody needs its files
        self._child.log.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _at(self, database: str) -> list[str]:
        return ["-h", str(self.folder), "-U", "bench", "-d", database]

    def _answers(self) -> bool:
        try:
            self._run("psql", *self._at("postgres"), "-c", "SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True

    def _run(self, tool: str, *arguments: str, stdin: str | None = None) -> str:
        as_user: dict[str, Any] = {} if self._user is None else {"user": self._user}
        done = subprocess.run(
            [str(find(tool)), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            cwd=self.folder,
            **as_user,
        )
        return done.stdout


def _owner() -> int | None:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in _OWNERS:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise FileNotFoundError("there is no user to run PostgreSQL as")
