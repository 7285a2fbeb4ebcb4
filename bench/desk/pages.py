"""How long the desk's pages take: `python -m bench.desk.pages --data DIR`, on a data set of `bench.desk.million`."""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import random
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

SAMPLES = 20
PAYMENTS = 200
PAGES = {
    "overview, a day": "",
    "overview, a week": "?range=7d",
    "payments": "/payments",
    "payments of a merchant": "/payments?merchant=mer_lighthouse",
    "payments that failed at a provider": "/payments?status=failed&provider=simulator_b",
    "money at risk": "/risk",
    "blast radius of an hour": "/blast?provider=simulator_b",
    "blast radius of a day": "/blast?provider=simulator_b&from={day_ago}",
    "blast radius of a week, counted first": "/blast?from={week_ago}",
    "blast radius of a week, all of it": "/blast?from={week_ago}&all=yes",
    "causes, three hours": "/causes",
    "objectives": "/objectives",
    "an objective": "/objectives/payments-availability",
    "SLA report of a month": "/objectives/report",
    "providers": "/providers",
    "ledger": "/ledger",
    "search, nothing found": "/search?q=nobody-knows-this",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    data = options.parse_args().data
    ready = data / "ready.json"
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the platform does not come up")
            time.sleep(0.2)
        read = _signed_in(json.loads(ready.read_text()))
        chosen = _chosen(data / "interlock.db")
        now = datetime.now(UTC)
        ago = {
            f"{name}_ago": f"{now - timedelta(days=days):%Y-%m-%dT%H:%M}" for name, days in (("day", 1), ("week", 7))
        }
        print("| page | median ms | p95 ms | kB |\n|---|---|---|---|")
        for name, path in PAGES.items():
            path = path.format(**ago)
            _tell(name, [lambda path=path: read(path)] * SAMPLES)
        _tell("explain a payment", [lambda one=one: read(f"/payments/{one}") for one, _ in chosen])
        _tell("search by id", [lambda one=one: read(f"/search?q={one}") for one, _ in chosen])
        _tell("search by reference", [lambda ref=ref: read(f"/search?q={ref}") for _, ref in chosen])
    finally:
        process.terminate()
        process.wait(60)


def _signed_in(ready: dict[str, str]) -> Callable[[str], bytes]:
    open_ = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())).open
    form = urllib.parse.urlencode({"name": ready["console_user"], "password": ready["console_password"]}).encode()
    open_(f"{ready['console_url']}/sign-in", form, timeout=60).read()

    def read(path: str) -> bytes:
        with open_(f"{ready['console_url']}{path}", timeout=120) as answer:
            content: bytes = answer.read()
            return content

    return read


def _chosen(path: Path) -> list[tuple[str, str]]:
    """Payments all over the data set, with their references."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (most,) = database.execute("SELECT max(key) FROM documents_desk_payments").fetchone()
        chance = random.Random(2)
        keys = [chance.randrange(1, most) for _ in range(PAYMENTS)]
        rows = [
            database.execute("SELECT id, fields FROM documents_desk_payments WHERE key = ?", (key,)).fetchone()
            for key in keys
        ]
    return [(row[0], json.loads(row[1]).get("reference", "")) for row in rows if row]


def _tell(name: str, work: list[Callable[[], bytes]]) -> None:
    times, size = [], 0
    for one in work:
        began = time.perf_counter()
        size = max(size, len(one()))
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    median, p95 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 95 // 100)]
    print(f"| {name} | {median:.0f} | {p95:.0f} | {size / 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
