"""The provider all contestants call: the project's own simulator, one process, one instance, books in memory."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bench import processes

NAME = "simulator"
INSTANT: dict[str, Any] = {"notifications": {"of_answers": False}}
"""Answers at once. It does not also notify of what its answer said: the comparators have nobody to listen."""
USUAL: dict[str, Any] = INSTANT | {"latency": {"kind": "log_normal", "median_ms": 120, "p99_ms": 380}}
CURRENCY = "EUR"


class Books(NamedTuple):
    """What the provider has booked since the last reset."""

    captured: int
    """Minor units."""


class Provider:
    def __init__(self, child: processes.Child, ready: dict[str, Any]) -> None:
        self.child = child
        instance = ready["instances"][NAME]
        self.base_url: str = instance["base_url"]
        self.api_key: str = instance["api_key"]
        self.signing_secret: str = instance["signing_secrets"][0]
        self._control_url: str = ready["control_url"]

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def behave(self, plan: dict[str, Any]) -> None:
        self._ask("PUT", "/faults", plan)

    def forget(self) -> None:
        """Empty books; the plan, too, is as at the start."""
        self._ask("POST", "/reset")

    def books(self) -> Books:
        totals = self._ask("GET", "/books?view=totals")["totals"]
        return Books(totals.get(CURRENCY, {}).get("captured", 0))

    def stop(self) -> None:
        self.child.stop()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._control_url + path, content, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def start(folder: Path, *, python: str, cores: Iterable[int]) -> Provider:
    ready_file = folder / "provider.json"
    command = [python, "-m", "interlock.simulator", "--names", NAME, "--ready-file", str(ready_file)]
    child = processes.start(command, log=folder / "provider.log", cores=cores)
    child.until(ready_file.exists)
    return Provider(child, json.loads(ready_file.read_text()))
