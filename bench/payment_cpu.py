"""CPU a payment costs the platform's process, and the bytes it leaves: `python -m bench.payment_cpu`.

One process is the platform (API over SQLite, with or without its worker), another the provider simulator at 0 ms, this one
the load: so many connections, each sending its next payment when the last one is answered. What is counted is what stands in
the file afterwards, not answers. `request` is the request path alone; `all` goes on until every consumer has caught up.
Both are set beside what a bare echo costs in the same minute: machines and their neighbours differ, the ratio less so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import cProfile
import multiprocessing
import pstats
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.http_overhead import measure as measure_http
from interlock.bootstrap import Platform, keep_credential, open_platform, open_storage
from interlock.config import ProviderSettings, Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.entrypoints import worker
from interlock.entrypoints.garbage import settle
from interlock.entrypoints.http.api import api
from interlock.entrypoints.http.server import HttpServer

TENANT = "ten_bench"
GROUPS = ("read_models", "ledger_balances", "webhooks", "log")
BODY = (
    b'{"amount":1999,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"},'
    b'"reference":"order-%d","metadata":{"basket":"7781"}}'
)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve(pipe: Any, folder: Path, part: str, profile: str) -> None:
    """The platform's process: answers "begin" and "end" with CPU seconds and what is stored."""
    ready = msgspec.json.decode((folder / "simulator.json").read_bytes())["instances"]["simulator"]
    provider = ProviderSettings("simulator", "simulator", ready["base_url"])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(
        data=str(folder), port=port, providers=(provider,), rate_limit_per_s=1e9, rate_limit_burst=1_000_000_000
    )
    with (folder / "interlock.log").open("ab", buffering=0) as log:
        storage = open_storage(settings, log=log)
        await keep_credential(storage, "simulator", "api_key", ready["api_key"])
        await keep_credential(storage, "simulator", "signing_secret", ready["signing_secrets"][0])
        platform = await open_platform(settings, storage, issuer=f"http://127.0.0.1:{port}")
        await ensure_signing_key(platform.access)
        made = await create_client(platform.access, CreateClient(TENANT, "bench", ("payments:write",)), actor="bench")
        assert made.secret is not None
        stop = asyncio.Event()
        loops = worker.loops(platform, member="bench")
        if part == "request":
            loops = loops[-1:]  # of all loops the gauges alone
        work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
        async with HttpServer(api(platform), port=port):
            settle()
            pipe.send((port, made.client.id, made.secret.reveal()))
            await asyncio.to_thread(pipe.recv)
            if part == "all":
                await caught_up(platform)
            profiler = cProfile.Profile()
            if profile:
                profiler.enable()
            pipe.send((cpu_s(), stored(platform)))
            await asyncio.to_thread(pipe.recv)
            if part == "all":
                await caught_up(platform)
            profiler.disable()
            pipe.send((cpu_s(), stored(platform)))
            if profile:
                show(profiler, profile)
        stop.set()
        await work
        await platform.close()


async def caught_up(platform: Platform) -> None:
    """Until nothing that was committed is still on its way: relayed, and passed by every group."""
    storage = platform.storage
    async with asyncio.timeout(600):
        while True:
            position = await storage.store.get(worker.RELAY_POSITION)
            after = position.value.decode() if position else ""
            lags = [await storage.bus.lag(worker.EVENTS_TOPIC, group=group) for group in GROUPS]
            if not await storage.feed.read(after=after, limit=1) and not any(lags):
                return
            await asyncio.sleep(0.05)


def stored(platform: Platform) -> int:
    """Payments in the file that took their money, each with its journal and both of its events; else it fails."""
    database = platform.storage.database
    count = lambda sql: database.read(lambda connection: connection.execute(sql).fetchone()[0])  # noqa: E731
    payments = count("SELECT count(*) FROM items WHERE sort = 'payment' AND instr(value, '\"succeeded\"') > 0")
    journals = count("SELECT count(*) FROM items WHERE partition LIKE '%/jrn/%'")
    events = count("SELECT count(*) FROM events WHERE aggregate LIKE 'pay_%'")
    assert (journals, events) == (payments, 2 * payments), (payments, journals, events)
    return int(payments)


def show(profiler: cProfile.Profile, order: str) -> None:
    stats = pstats.Stats(profiler, stream=sys.stderr)
    stats.strip_dirs().sort_stats(order).print_stats(70)


def platform_process(pipe: Any, folder: str, part: str, profile: str) -> None:
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(pipe, Path(folder), part, profile))


async def drive(port: int, token: str, first: int, payments: int, connections: int) -> list[float]:
    """Send them; the seconds each took."""
    numbers = iter(range(first, first + payments))
    taken: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = BODY % number
            head = (
                f"POST /v1/payments HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/json\r\nIdempotency-Key: bench-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", answer)
            assert found is not None
            rest = await reader.readexactly(int(found[1]))
            assert answer.startswith(b"HTTP/1.1 201"), answer + rest
            taken.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return taken


async def token_of(port: int, client: str, secret: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    body = "grant_type=client_credentials"
    writer.write(
        (
            f"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )
    answer = await reader.read()
    writer.close()
    token: str = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["access_token"]
    return token


def measure(part: str, *, payments: int, connections: int, warm: int, profile: str = "") -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "simulator.json")
        arguments = [sys.executable, "-m", "interlock.simulator", "--ready-file", str(ready)]
        simulator = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=platform_process, args=(theirs, folder, part, profile), daemon=True)
        try:
            while not ready.exists():
                time.sleep(0.02)
            process.start()
            port, client, secret = ours.recv()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                token = runner.run(token_of(port, client, secret))
                runner.run(drive(port, token, 0, warm, connections))
                ours.send("begin")
                before_s, before = ours.recv()
                bytes_before = size_of(folder)
                began = time.perf_counter()
                taken = sorted(runner.run(drive(port, token, warm, payments, connections)))
                elapsed_s = time.perf_counter() - began
                ours.send("end")
                after_s, after = ours.recv()
            assert after - before == payments, (after - before, payments)
            process.join(20)
            return {
                "us": (after_s - before_s) / payments * 1e6,
                "per_s": payments / elapsed_s,
                "p50_ms": taken[len(taken) // 2] * 1e3,
                "p99_ms": taken[int(len(taken) * 0.99)] * 1e3,
                "bytes": (size_of(folder) - bytes_before) / payments,
            }
        finally:
            process.kill()
            simulator.kill()
            simulator.wait()


def size_of(folder: str) -> int:
    """Of the database without its log, which does not grow with the payments."""
    return Path(folder, "interlock.db").stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=6_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--warm", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="request,all")
    parser.add_argument("--profile", default="", help="cProfile of the platform, sorted by this: tottime, cumulative")
    options = parser.parse_args()
    parts = options.parts.split(",")
    rounds: dict[str, list[dict[str, float]]] = {part: [] for part in parts}
    echo: list[float] = []
    for _ in range(options.rounds):
        echo.append(measure_http("echo", connections=options.connections, requests=10_000))
        for part in parts:
            found = measure(
                part,
                payments=options.payments,
                connections=options.connections,
                warm=options.warm,
                profile=options.profile,
            )
            rounds[part].append(found)
    print(f"echo     {min(echo):6.1f} us CPU a request ({', '.join(f'{one:.1f}' for one in echo)})")
    for part in parts:
        best = min(rounds[part], key=lambda one: one["us"])
        print(
            f"{part:8} {best['us']:6.1f} us CPU a payment ({', '.join(format(one['us'], '.0f') for one in rounds[part])}), "
            f"{min(echo) / best['us']:.4f} of the echo, "
            f"{best['per_s']:.0f} payments/s, p50 {best['p50_ms']:.1f} ms, p99 {best['p99_ms']:.1f} ms, "
            f"{best['bytes']:.0f} bytes a payment"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
