"""The course all contestants run: slices of load, what they were answered, and what the provider booked for each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from bench import driving, machine
from bench.contestants.echo import REQUEST_BODY
from bench.driving import NUMBERS_A_SLICE, Numbers, Slice
from bench.load import Spec
from bench.persisted import Answered
from bench.provider import INSTANT, Provider

ONE_CORE = frozenset({machine.CONTESTANT_CORE})
DRIVER = frozenset({machine.DRIVER_CORE})
SUCCEEDED = '"status":"succeeded"'


class CaughtUp(NamedTuple):
    """What it took until nothing was left to be done in the background."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of processes that worked only for this and have ended."""


class Contestant(Protocol):
    """Something that makes payments over HTTP and keeps them."""

    name: str
    ports: list[int]

    def token(self) -> str:
        """A bearer token that is good for the next slice."""

    def pids(self) -> list[int]:
        """All processes that work for it."""

    def catch_up(self) -> CaughtUp:
        """Wait until nothing is left to be done in the background."""

    def stop(self) -> None:
        """End it. Safe to repeat."""


class Lap(NamedTuple):
    """One contestant's slice, with what went on behind it."""

    slice: Slice
    catch_up_s: float
    cpu_all_s: float
    """The contestant's CPU from the first request until everything had caught up."""

    @property
    def per_s(self) -> float:
        return self.slice.rate_per_s

    @property
    def sustained_per_s(self) -> float:
        """Payments per second of the whole time, until every consumer had caught up."""
        return self.slice.report.good / (self.slice.report.elapsed_s + self.catch_up_s)

    @property
    def cpu_all_us(self) -> float:
        return self.cpu_all_s / self.slice.report.good * 1e6

    def figures(self) -> dict[str, Any]:
        report = self.slice.report
        return {
            "per_s": self.per_s,
            "sustained_per_s": self.sustained_per_s,
            "catch_up_s": self.catch_up_s,
            "cpu_us": self.slice.cpu_us("contestant"),
            "cpu_all_us": self.cpu_all_us,
            "cpu_cores": {name: seconds / report.window_s for name, seconds in self.slice.cpu_s.items()}
            | {"generator": report.cpu_s / report.elapsed_s, "others": self.slice.others_cores},
            "latency_ms": report.latency_ms,
            "late_ms": report.late_ms,
        }


class Course:
    """Counts what every contestant was answered and what the provider booked, slice by slice."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.answered: dict[str, Answered] = {}
        self.booked: dict[str, int] = {}
        self.complaints: list[str] = []
        """Answers that were not good."""
        self._numbers = Numbers()
        self._tag = secrets.token_hex(4)
        """In each key: folders with histories have seen other courses."""

    def lap(
        self,
        contestant: Contestant,
        *,
        seconds: float,
        warmup_s: float,
        connections: int,
        rate_per_s: float = 0.0,
        behaviour: Mapping[str, Any] | None = None,
        cores: frozenset[int] = DRIVER,
        account: str = "",
        seed: int = 1,
        requests_max: int = 2**62,
    ) -> Lap:
        """One slice. It is accounted to `account`, or to the contestant's name."""
        account = account or contestant.name
        self.provider.forget()
        self.provider.behave(dict(behaviour or INSTANT))
        first = self._numbers.take(NUMBERS_A_SLICE)
        spec = Spec(
            ports=contestant.ports,
            path="/v1/payments",
            headers={"Authorization": f"Bearer {contestant.token()}", "Idempotency-Key": f"bench-{self._tag}-*"},
            body=REQUEST_BODY,
            expect=SUCCEEDED,
            connections=connections,
            seconds=seconds,
            warmup_s=warmup_s,
            rate_per_s=rate_per_s,
            first=first,
            seed=seed,
            requests_max=requests_max,
        )
        groups = {"contestant": contestant.pids, "provider": lambda: self.provider.child.pids}
        pids = contestant.pids()
        before = machine.cpu_s(pids)
        done = driving.drive(spec, cores=cores, groups=groups)
        caught_up = contestant.catch_up()
        cpu_all_s = machine.cpu_s(pids) - before + caught_up.cpu_s
        report = done.report
        self.answered[account] = self.answered.get(account, Answered()).plus(report.good, report.amount_good)
        self.booked[account] = self.booked.get(account, 0) + self.provider.books().captured
        if report.good != report.sent:
            self.complaints.append(
                f"{account}: {report.sent - report.good} of {report.sent} answers were not good"
                f" {report.statuses}, e.g. {report.wrong}"
            )
        return Lap(done, caught_up.seconds, cpu_all_s)

    def bare_provider(self, *, seconds: float, rate_per_s: float, behaviour: Mapping[str, Any], seed: int = 1) -> Slice:
        """The provider alone, called as the contestants call it: what is subtracted from their answers' times."""
        self.provider.forget()
        self.provider.behave(dict(behaviour))
        body = (
            '{"reference":"att_bare_NUMBER","amount":AMOUNT,"currency":"EUR","token":"tok_approve","capture":true,'
            '"metadata":{"attempt_id":"att_bare_NUMBER","payment_id":"pay_bare_NUMBER","tenant":"ten_bench"}}'
        )
        headers = {"authorization": f"Bearer {self.provider.api_key}", "idempotency-key": "bare-*"}
        spec = Spec(
            ports=[self.provider.port],
            path="/v1/charges",
            headers=headers,
            body=body,
            expect='"status":"captured"',
            connections=256,
            seconds=seconds,
            rate_per_s=rate_per_s,
            first=self._numbers.take(NUMBERS_A_SLICE),
            seed=seed,
        )
        return driving.drive(spec, cores=DRIVER, groups={"provider": lambda: self.provider.child.pids})

    def echo(self, ports: list[int], pids: Any, *, seconds: float, warmup_s: float, connections: int) -> Slice:
        """Requests of the same size, given back."""
        spec = Spec(
            ports=ports,
            path="/v1/payments",
            headers={"Authorization": "Bearer " + "t" * 700, "Idempotency-Key": "bench-*"},
            body=REQUEST_BODY,
            expect='"amount":',
            connections=connections,
            seconds=seconds,
            warmup_s=warmup_s,
            first=self._numbers.take(NUMBERS_A_SLICE),
        )
        return driving.drive(spec, cores=DRIVER, groups={"contestant": pids})
