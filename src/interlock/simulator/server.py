"""The simulator as a program: a control port, a port for each instance, notifications, and books in files.

http://HOST:PORT/                  control of all instances: /books /faults /reset /notifications /healthz
http://HOST:PORT/simulator_a/...   one instance, its API and its control
http://HOST:PORT_A/...             the same instance on its own port, which an outage may close
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.secrets import Secret
from interlock.simulator import control
from interlock.simulator.faults import FaultPlan
from interlock.simulator.instance import SimulatedProvider
from interlock.simulator.messages import Notice, Reaction, Reply, Request, json_reply, refusal
from interlock.simulator.notifier import PAUSES_S, Notifier
from interlock.simulator.wire import Listener

_system = random.SystemRandom()
_NO_ALARM: tuple[Millis | None, asyncio.TimerHandle | None] = (None, None)


class InstanceSettings(msgspec.Struct, frozen=True):
    name: str
    port: int = 0
    """0 takes a free one."""
    api_key: Secret | None = None
    """Absent: no key is asked for."""
    signing_secrets: tuple[Secret, ...] = ()
    """Every one signs each notification."""


class SimulatorSettings(msgspec.Struct, frozen=True):
    instances: tuple[InstanceSettings, ...]
    host: str = "127.0.0.1"
    port: int = 0
    """Of the control; 0 takes a free one."""
    notify_url: str | None = None
    """Notifications go to `notify_url`/<instance>."""
    books_folder: Path | None = None
    """Keep each instance's books in <instance>.jsonl here. Absent: in memory only."""
    plan: FaultPlan = FaultPlan()
    """Of every instance at the start."""
    notify_pauses_s: tuple[float, ...] = PAUSES_S


class Simulator:
    """Several simulated providers behind real sockets. `start`, then read `control_url` and `base_urls`; `close` at the end."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        now: Callable[[], Millis] = lambda: time.time_ns() // 1_000_000,
        random_bits: Callable[[int], int] = _system.getrandbits,
    ) -> None:
        """Binds the ports: raises OSError when one is taken. Raises DecodeError for books that cannot be read."""
        self.settings = settings
        self._now = now
        self._files: dict[str, BooksFile] = {}
        self._alarms: dict[str, tuple[Millis | None, asyncio.TimerHandle | None]] = {}
        self._turning: set[asyncio.Task[None]] = set()
        self.instances: dict[str, SimulatedProvider] = {}
        for one in settings.instances:
            self.instances[one.name] = self._instance(one, lambda kind: format_id(kind, now(), random_bits(80)))
        self._secrets = {one.name: one.signing_secrets for one in settings.instances}
        self.notifier = Notifier(
            now=now,
            secrets=lambda name: self._secrets[name],
            url=settings.notify_url,
            taken=lambda notice: self.instances[notice.instance].books.told(notice.id),
            pauses_s=settings.notify_pauses_s,
        )
        self._control = Listener(_ControlApp(self), settings.host, settings.port)
        self._listeners: dict[str, Listener] = {}
        for one in settings.instances:
            listener = Listener(_InstanceApp(self, self.instances[one.name]), settings.host, one.port)
            self._listeners[one.name] = listener
            self.instances[one.name].public_url = f"http://{settings.host}:{listener.port}"

    @property
    def control_url(self) -> str:
        return f"http://{self.settings.host}:{self._control.port}"

    @property
    def base_urls(self) -> dict[str, str]:
        """Where each instance's API answers, by name."""
        return {name: f"http://{self.settings.host}:{listener.port}" for name, listener in self._listeners.items()}

    async def start(self) -> None:
        await self._control.open()
        for name in self.instances:
            await self._turn(name)

    async def close(self) -> None:
        """Answers under way are cut off."""
        for _, timer in self._alarms.values():
            if timer is not None:
                timer.cancel()
        for task in list(self._turning):
            task.cancel()
        await asyncio.gather(*self._turning, return_exceptions=True)
        self._control.close()
        for listener in self._listeners.values():
            listener.close()
        await self.notifier.close()
        for file in self._files.values():
            file.close()

    def settle(self, instance: SimulatedProvider) -> None:
        """After anything happened: send what is to be sent, and come back when something is due."""
        if instance.outbox:
            notices, instance.outbox = instance.outbox, []
            for notice in notices:
                self.notifier.send(notice)
        listener = self._listeners[instance.name]
        if listener.is_open is instance.is_refusing():
            task = asyncio.get_running_loop().create_task(self._turn(instance.name))
            self._turning.add(task)
            task.add_done_callback(self._turning.discard)
        due = instance.next_due()
        at, timer = self._alarms.get(instance.name, _NO_ALARM)
        if due == at:
            return
        if timer is not None:
            timer.cancel()
        timer = None
        if due is not None:
            wait_s = max(0, due - self._now()) / 1_000 + 0.001
            timer = asyncio.get_running_loop().call_later(wait_s, self._wake, instance)
        self._alarms[instance.name] = (due, timer)

    def reset(self) -> None:
        """Forget all books, and all faults."""
        for instance in self.instances.values():
            instance.reset()
            self.settle(instance)

    async def _turn(self, name: str) -> None:
        """Open or close the instance's port, as its plan says."""
        if self.instances[name].is_refusing():
            self._listeners[name].shut()
        else:
            await self._listeners[name].open()
        self.settle(self.instances[name])

    def _wake(self, instance: SimulatedProvider) -> None:
        self._alarms.pop(instance.name, None)
        instance.advance()
        self.settle(instance)

    def _instance(self, one: InstanceSettings, new_id: Callable[[str], str]) -> SimulatedProvider:
        file = None
        if self.settings.books_folder is not None:
            file = self._files[one.name] = BooksFile(self.settings.books_folder / f"{one.name}.jsonl")
        instance = SimulatedProvider(
            one.name,
            now=self._now,
            new_id=new_id,
            api_key=one.api_key,
            signing_secrets=one.signing_secrets,
            plan=self.settings.plan,
            journal=file,
        )
        if file is not None:
            instance.load(file.read())
        return instance


class BooksFile:
    """Lines, each written out at once. A line cut short by a crash is cut off."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)

    def read(self) -> list[bytes]:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return content[:whole].splitlines()

    def append(self, line: bytes) -> None:
        self._file.write(line + b"\n")

    def clear(self) -> None:
        self._file.truncate(0)

    def close(self) -> None:
        self._file.close()


class _InstanceApp:
    """Behind an instance's own port."""

    def __init__(self, simulator: Simulator, instance: SimulatedProvider) -> None:
        self._simulator = simulator
        self._instance = instance

    def react(self, request: Request) -> Reaction:
        reaction = control.react(self._instance, request)
        self._simulator.settle(self._instance)
        return reaction

    async def tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            await self._simulator.notifier.send_now(notice)


class _ControlApp:
    """Behind the control port."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._apps = {name: _InstanceApp(simulator, instance) for name, instance in simulator.instances.items()}

    def react(self, request: Request) -> Reaction:
        name, slash, rest = request.path[1:].partition("/")
        app = self._apps.get(name)
        if app is not None:
            return app.react(request._replace(path=slash + rest))
        try:
            return Reaction(self._all(request))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return Reaction(refusal(400, "invalid_request", str(error)[:300]))

    async def tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            await self._simulator.notifier.send_now(notice)

    def _all(self, request: Request) -> Reply:
        simulator = self._simulator
        match request.method, request.path:
            case "GET", "/healthz":
                return json_reply(200, {"status": "ok", "instances": simulator.base_urls})
            case "GET", "/books":
                return json_reply(200, self._books(request.query))
            case "GET", "/faults":
                return json_reply(200, {name: one.dice.plan for name, one in simulator.instances.items()})
            case "PUT", "/faults":
                plan = control.read_plan(request.body)
                for instance in simulator.instances.values():
                    instance.set_plan(plan)
                    simulator.settle(instance)
                return json_reply(200, plan)
            case "POST", "/reset":
                simulator.reset()
                return json_reply(200, {"status": "reset"})
            case "PUT", "/notifications":
                simulator.notifier.set_url(msgspec.json.decode(request.body, type=dict[str, str | None]).get("url"))
                return json_reply(200, self._notifications())
            case "GET", "/notifications":
                return json_reply(200, self._notifications())
        return refusal(404, "no_such_path", "there is nothing here")

    def _books(self, query: str) -> dict[str, Any]:
        each = {}
        for name, instance in self._simulator.instances.items():
            instance.advance()
            self._simulator.settle(instance)
            each[name] = control.books_of(instance, query)
        operations = [{"instance": name, **row} for name, books in each.items() for row in books.get("operations", ())]
        return {"operations": operations, "instances": each, "totals": _sum(books["totals"] for books in each.values())}

    def _notifications(self) -> dict[str, Any]:
        notifier = self._simulator.notifier
        counts = {"delivered": notifier.delivered, "open": notifier.open, "given_up": notifier.given_up}
        return {"url": notifier.url, **counts}


def _sum(parts: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    whole: dict[str, dict[str, int]] = {}
    for part in parts:
        for currency, row in part.items():
            sums = whole.setdefault(currency, dict.fromkeys(row, 0))
            for name, amount in row.items():
                sums[name] += amount
    return whole


async def serve(
    settings: SimulatorSettings, *, stop: asyncio.Event, on_ready: Callable[[Simulator], None] | None = None
) -> None:
    """Run until `stop` is set. Raises OSError when a port is taken."""
    simulator = Simulator(settings)
    try:
        await simulator.start()
        if on_ready is not None:
            on_ready(simulator)
        await stop.wait()
    finally:
        await simulator.close()
