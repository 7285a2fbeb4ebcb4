"""What the disk and SQLite alone cost: `python -m bench.contestants.durable FOLDER SECONDS`, on whatever core it is put.

Two figures that need no server: one `fdatasync` after 4 kB were appended to a file, and one commit of one row in a file
with a write-ahead log, synchronised each time. Rows are counted afterwards.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from bench.load import percentiles
from bench.processes import ROOT

BLOCK = b"b" * 4_096
VALUE = b"v" * 1_500


def fdatasync(folder: Path, seconds: float) -> dict[str, Any]:
    """Append 4 kB and wait until they are on the disk, again and again; the times are of the waiting alone."""
    path = folder / "fdatasync"
    waited = array("d")
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        os.write(handle, BLOCK)
        began = time.perf_counter()
        os.fdatasync(handle)
        waited.append(time.perf_counter() - began)
    os.close(handle)
    path.unlink()
    return {"per_s": len(waited) / seconds, "us": percentiles(waited, scale=1e6)}


def commits(folder: Path, seconds: float) -> dict[str, Any]:
    """One row, one transaction, one synchronisation, again and again."""
    path = folder / "commits.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full; CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB)"
    )
    took = array("d")
    cpu, began = time.process_time(), time.perf_counter()
    now = began
    while now < began + seconds:
        database.execute("INSERT INTO rows (value) VALUES (?)", (VALUE,))
        before, now = now, time.perf_counter()
        took.append(now - before)
    cpu = time.process_time() - cpu
    (rows,) = database.execute("SELECT count(*) FROM rows").fetchone()
    database.close()
    for file in folder.glob("commits.db*"):
        file.unlink()
    if rows != len(took):
        raise SystemExit(f"{len(took)} commits returned and {rows} rows are there")
    return {"per_s": len(took) / (now - began), "cpu_us": cpu / len(took) * 1e6, "us": percentiles(took, scale=1e6)}


def measure(folder: Path, seconds: float, *, cores: Iterable[int]) -> dict[str, Any]:
    """Both, in a process of their own on `cores`, each for half of the time."""
    wanted = set(cores) & os.sched_getaffinity(0) or os.sched_getaffinity(0)
    done = subprocess.run(
        [sys.executable, "-m", "bench.contestants.durable", str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, wanted),
    )
    found: dict[str, Any] = msgspec.json.decode(done.stdout)
    return found


if __name__ == "__main__":
    place, half = Path(sys.argv[1]), float(sys.argv[2]) / 2
    print(msgspec.json.encode({"fdatasync": fdatasync(place, half), "commit": commits(place, half)}).decode())
