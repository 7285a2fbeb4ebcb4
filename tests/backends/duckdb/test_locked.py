"""The walls beneath the check, with the check out of the way: the locked database, and the process with its limits."""

import subprocess
import sys

import duckdb
import pytest

from interlock.backends.duckdb.database import load
from interlock.backends.duckdb.locked import open_locked
from tests.backends.duckdb.attacks import CANARY, RAW, filled, laid_out, seen


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    connection = open_locked(load(folder, None, []).path, memory_bytes=64 * 1024 * 1024)
    yield connection
    connection.close()


@pytest.mark.parametrize("text", RAW)
def test_raw_attack_is_refused_by_the_locked_database_itself(text, locked, tmp_path):
    folder = laid_out(tmp_path / "around")
    before = seen(folder)
    with pytest.raises(duckdb.Error) as refused:
        locked.execute(filled(text, folder)).fetchall()
    assert CANARY not in str(refused.value)
    assert seen(folder) == before


def test_locked_database_still_reads_its_own_tables(locked):
    assert locked.execute("SELECT count(*) FROM events").fetchall() == [(0,)]


def test_python_variables_are_no_tables_of_the_locked_database(locked):
    secret_rows = [CANARY]
    assert secret_rows
    with pytest.raises(duckdb.Error, match="does not exist"):
        locked.execute("SELECT * FROM secret_rows")


PROGRAM = """
import pathlib, resource, sys
sys.path[:] = {path!r}
from interlock.backends.duckdb.child import _lock_in
from interlock.backends.duckdb.locked import open_locked
connection = open_locked(pathlib.Path({database!r}), memory_bytes={memory})
_lock_in({memory})
{body}
# Not ru_maxrss, which remembers the process this one was forked from.
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024)
"""


def run_locked_in(tmp_path, body):
    """What a program says that has locked itself in as the child does, and how it ended."""
    database = load(tmp_path, None, []).path
    memory = 64 * 1024 * 1024
    program = PROGRAM.format(path=[one for one in sys.path if one], database=str(database), memory=memory, body=body)
    return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, env={}, timeout=60)


@pytest.mark.parametrize("text", ["SELECT repeat('x', 2000000000)", "SELECT lpad('x', 2000000000, 'y')"])
def test_kernel_stops_the_memory_bomb_that_the_database_does_not(text, tmp_path):
    """Without the process's limit this takes 4 GB: see child.py."""
    done = run_locked_in(
        tmp_path, f"try:\n    connection.execute({text!r})\nexcept Exception as e:\n    print(type(e).__name__)"
    )
    assert done.returncode == 0, done.stderr
    failed, most_mb = done.stdout.split()
    assert failed in ("OutOfMemoryException", "MemoryError", "Error", "InternalException", "FatalException")
    assert int(most_mb) < 500


def test_locked_in_process_cannot_write_a_single_byte(tmp_path):
    target = tmp_path / "written"
    body = f"file = open({str(target)!r}, 'wb', buffering=0)\nfile.write(b'x')"
    done = run_locked_in(tmp_path, body)
    assert done.returncode != 0
    assert target.read_bytes() == b""


def test_locked_in_process_sees_no_environment(tmp_path):
    done = run_locked_in(tmp_path, "import os\nprint(sorted(set(os.environ) - {'LC_CTYPE'}))")
    assert done.stdout.startswith("[]\n"), done.stderr
