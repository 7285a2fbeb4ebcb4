"""Carries requests to simulated providers in the same thread: the same reactions as over sockets, in the clock's own time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from interlock.core.kernel.clock import Clock
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest
from interlock.providers.transport import ProviderConfig, checked_path
from interlock.simulator import control
from interlock.simulator.instance import SimulatedProvider
from interlock.simulator.messages import Manner, Notice, Request

Tell = Callable[[Notice], Awaitable[None]]

_FAULTS = {
    Manner.RESET: FaultClass.RESET,
    Manner.TRUNCATED: FaultClass.TRUNCATED,
    Manner.HUGE: FaultClass.TOO_LARGE,
    Manner.ENDLESS: FaultClass.TOO_LARGE,
}


class InProcessTransport:
    """Implements `Transport` over instances by their providers' names. `tell` takes notifications in."""

    def __init__(self, instances: Mapping[str, SimulatedProvider], clock: Clock, tell: Tell) -> None:
        self._instances = instances
        self._clock = clock
        self._tell = tell

    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        instance = self._instances[config.name]
        if instance.is_refusing():
            return Fault(FaultClass.CONNECT, "refused")
        path, _, query = checked_path(request.path).partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        reaction = control.react(instance, Request(request.method, path, query, headers, request.body))
        for notice in reaction.first:
            await self._tell(notice)
        await self.send_outbox(instance)
        if reaction.manner in (Manner.HANG, Manner.STALLED):
            waits_s = min(reaction.delay_s + reaction.hang_s, config.read_timeout_s)
            await self._clock.sleep(waits_s)
            out_of_patience = waits_s >= config.read_timeout_s
            return Fault(FaultClass.READ_TIMEOUT if out_of_patience else FaultClass.RESET)
        if reaction.delay_s >= config.read_timeout_s:
            await self._clock.sleep(config.read_timeout_s)
            return Fault(FaultClass.READ_TIMEOUT)
        await self._clock.sleep(reaction.delay_s)
        if reaction.manner is not Manner.ANSWER:
            return Fault(_FAULTS[reaction.manner])
        return HttpReply(reaction.reply.status, dict(reaction.reply.headers), reaction.reply.body)

    async def send_outbox(self, instance: SimulatedProvider) -> None:
        """Call it after `instance.advance()` too."""
        notices, instance.outbox = instance.outbox, []
        for notice in notices:
            await self._tell(notice)

    async def close(self) -> None:
        """There is nothing to close."""
