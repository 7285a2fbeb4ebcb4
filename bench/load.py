"""The load generator, a process of its own: `python -m bench.load < spec.json`, one line of JSON for each thing it has to say.

It must cost little beside what it measures: raw connections kept alive, requests put together from two numbers, answers
looked at as far as their status, length and one word. Its own CPU time is in its report.

* Closed model: each connection sends its next request when its last one is answered. For throughput.
* Open model: requests arrive at random (Poisson) at a set rate whether or not earlier ones were answered, and an
  answer's time counts from the instant the request was due, so a stall is seen by all who came during it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import random
import resource
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal

import msgspec
import uvloop

DRAIN_S = 30.0
"""Requests under way at the end have so long to be answered; each of them counts in the sums, none in the rates."""
_CLOCK_MONOTONIC, _TFD_NONBLOCK, _TFD_TIMER_ABSTIME = 1, 0o4000, 1


class Spec(msgspec.Struct, frozen=True):
    """What to send, where, and how fast."""

    ports: list[int]
    """On 127.0.0.1. Connections are shared out evenly among them, as a balancer would."""
    path: str
    headers: dict[str, str]
    """A header whose value ends in `*` gets the request's number there."""
    body: str
    """JSON in which AMOUNT becomes the request's amount and NUMBER its number, each of constant length."""
    expect: str
    """What a good answer's body contains."""
    connections: int
    seconds: float
    """Of the window that is measured."""
    warmup_s: float = 0.5
    rate_per_s: float = 0.0
    """Zero: the closed model."""
    first: int = 0
    """Number of the first request; a run must not use a number twice."""
    seed: int = 1
    requests_max: int = 2**62
    """No more than so many in all, in the closed model."""


class Report(msgspec.Struct):
    """What came of it. Latencies and rates are of the window; counts and sums of everything that was sent."""

    sent: int
    answered: int
    good: int
    """Answers of 2xx that contain what was expected."""
    amount_good: int
    """Sum of the amounts of those, in minor units."""
    statuses: dict[str, int]
    elapsed_s: float
    """From the first request to the last answer."""
    window_s: float
    in_window: int
    """Good answers within the window."""
    latency_ms: dict[str, float]
    """p50, p90, p99, max."""
    late_ms: dict[str, float]
    """How long after it was due a request of the open model left, by the generator's own doing."""
    cpu_s: float
    """The generator's own, from its first request to the last answer."""
    wrong: str = ""
    """The first answer that was not good."""


def amount_of(number: int) -> int:
    """The amount of the request with that number, in minor units; always four digits."""
    return 1_000 + number % 9_000


def percentiles(values: array[float], *, scale: float = 1_000.0) -> dict[str, float]:
    """p50, p90, p99 and max by rank, times `scale`; empty when there are none."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    at = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(last, math.floor(share * len(ordered)))] * scale, 4) for name, share in at.items()}


class Broken(Exception):
    """The other side ended a connection under a request: what was measured is worth nothing."""


class Generator:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        body = spec.body.replace("AMOUNT", "%(amount)d").replace("NUMBER", "%(number)010d")
        length = len(body % {"amount": amount_of(0), "number": 0})
        lines = [f"POST {spec.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [
            f"{name}: {value.removesuffix('*')}{'%(number)010d' * value.endswith('*')}"
            for name, value in spec.headers.items()
        ]
        lines += [f"Content-Length: {length}", "", body]
        self._template = "\r\n".join(lines).encode()
        self._expect = spec.expect.encode()
        self._next = spec.first
        self._under_way = 0
        self._idle: list[Connection] = []
        self._overdue: deque[float] = deque()
        self._stopped = False
        self._window_from = math.inf
        self._window_to = math.inf
        self._done = asyncio.Event()
        self._broken = asyncio.Event()
        self.latencies = array("d")
        self.late = array("d")
        self.statuses: Counter[bytes] = Counter()
        self.good = self.amount_good = self.in_window = 0
        self.wrong = b""

    async def run(self) -> Report:
        """Raises Broken, OSError when there is nobody to connect to, TimeoutError for requests that are never answered."""
        loop, spec = asyncio.get_running_loop(), self.spec
        connections: list[Connection] = []
        arrivals: Arrivals | None = None
        try:
            for place in range(spec.connections):
                port = spec.ports[place % len(spec.ports)]
                _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
                connections.append(connection)
            before, began = _cpu_s(), time.perf_counter()
            if spec.rate_per_s:
                self._idle = connections[::-1]
                arrivals = Arrivals(loop, spec.rate_per_s, random.Random(spec.seed), self.arrived)
            else:
                for connection in connections:
                    self.answered_on(connection)
            await self._measure()
            if arrivals is not None:
                arrivals.close()
            if self._under_way or self._overdue:
                async with asyncio.timeout(DRAIN_S):
                    await self._done.wait()
            await self._go_on(0)
            return self._report(cpu_s=_cpu_s() - before, elapsed_s=time.perf_counter() - began)
        finally:
            if arrivals is not None:
                arrivals.close()
            for connection in connections:
                connection.close()

    async def _measure(self) -> None:
        """Warm up, then the window; afterwards nothing new is sent."""
        await self._go_on(self.spec.warmup_s)
        said("window")
        self._window_from = time.perf_counter()
        self._window_to = self._window_from + self.spec.seconds
        await self._go_on(self.spec.seconds)
        self._window_to = time.perf_counter()
        said("end")
        self._stopped = True

    def _report(self, *, cpu_s: float, elapsed_s: float) -> Report:
        return Report(
            sent=self._next - self.spec.first,
            answered=sum(self.statuses.values()),
            good=self.good,
            amount_good=self.amount_good,
            statuses={status.decode("latin-1"): count for status, count in self.statuses.items()},
            elapsed_s=elapsed_s,
            window_s=self._window_to - self._window_from,
            in_window=self.in_window,
            latency_ms=percentiles(self.latencies),
            late_ms=percentiles(self.late),
            cpu_s=cpu_s,
            wrong=self.wrong.decode("utf-8", "replace")[:500],
        )

    async def _go_on(self, seconds: float) -> None:
        """Raises Broken when a connection was lost."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._broken.wait(), seconds)
        if self._broken.is_set():
            raise Broken("a connection was closed in the middle of the run")

    def arrived(self, due: float) -> None:
        """A request of the open model is due."""
        if self._idle:
            self._send(self._idle.pop(), due)
        else:
            self._overdue.append(due)

    def _send(self, connection: Connection, due: float) -> None:
        number = self._next
        self._next = number + 1
        self._under_way += 1
        connection.due = due
        connection.amount = amount_of(number)
        connection.write(self._template % {b"number": number, b"amount": connection.amount})
        if due >= self._window_from:
            self.late.append(time.perf_counter() - due)

    def note(self, connection: Connection, answer: bytes) -> None:
        """A whole answer came."""
        now = time.perf_counter()
        status = answer[9:12]
        self.statuses[status] += 1
        self._under_way -= 1
        if status[:1] == b"2" and self._expect in answer:
            self.good += 1
            self.amount_good += connection.amount
            if self._window_from <= now <= self._window_to:
                self.in_window += 1
            if self._window_from <= connection.due <= self._window_to:
                self.latencies.append(now - connection.due)
        elif not self.wrong:
            self.wrong = answer
        self.answered_on(connection)

    def answered_on(self, connection: Connection) -> None:
        """The connection is free: its next request, if there is one."""
        if self.spec.rate_per_s:
            if self._overdue:
                self._send(connection, self._overdue.popleft())
                return
            self._idle.append(connection)
        elif not self._stopped and self._next - self.spec.first < self.spec.requests_max:
            self._send(connection, time.perf_counter())
        if self._stopped and not self._under_way and not self._overdue:
            self._done.set()

    def lost(self, connection: Connection) -> None:
        """The other side ended a connection: an idle one it may, another one makes the run worth nothing."""
        if connection not in self._idle:
            self._broken.set()
            self._done.set()
        else:
            self._idle.remove(connection)


class Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    due = 0.0
    amount = 0
    _transport: asyncio.Transport

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._held = b""
        self._closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        head = data.find(b"\r\n\r\n")
        if head > 0:
            place = data.find(b"content-length: ", 0, head)
            length = int(data[place + 16 : data.index(b"\r\n", place)]) if place > 0 else 0
            if len(data) >= head + 4 + length:
                self._held = b""
                self._generator.note(self, data)
                return
        self._held = data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._generator.lost(self)

    def close(self) -> None:
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class Arrivals:
    """Calls back at random instants. The loop's own timers are whole milliseconds, so the kernel's finer ones are used."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rate_per_s: float, dice: random.Random, arrived: Callable[[float], None]
    ) -> None:
        self._loop, self._rate, self._dice, self._arrived = loop, rate_per_s, dice, arrived
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._due = time.perf_counter() + dice.expovariate(rate_per_s)
        loop.add_reader(self._timer, self._rang)
        self._arm()

    def _arm(self) -> None:
        # struct itimerspec: interval (none), then the instant. perf_counter is CLOCK_MONOTONIC here.
        seconds = math.floor(self._due)
        spec = (ctypes.c_long * 4)(0, 0, seconds, math.floor((self._due - seconds) * 1e9))
        self._libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, spec, None)

    def _rang(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        while self._due <= time.perf_counter():
            self._arrived(self._due)
            self._due += self._dice.expovariate(self._rate)
        self._arm()

    def close(self) -> None:
        """No more arrivals. Safe to repeat."""
        if self._timer >= 0:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1


def said(what: Literal["window", "end"]) -> None:
    """Tell who started us where we are, so that CPU times can be taken at the right moments."""
    sys.stdout.write(f'{{"at":"{what}"}}\n')
    sys.stdout.flush()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)

    async def drive() -> Report:
        return await Generator(spec).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(drive())
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
