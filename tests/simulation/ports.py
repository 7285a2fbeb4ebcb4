"""The ports of one node, with everything between it and them that can go wrong.

Before each call and after each that changes something others may run, and the node may die, stand still or be cut off.
(After a read nothing could be told from what may happen before the next call.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from inspect import getmembers, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable, WriteConflict
from tests.simulation.chaos import Place

if TYPE_CHECKING:
    from tests.simulation.node import Node

SLOW_MOST_S = 3.0
DELAY_MOST_S = 30.0
REMEMBERS = frozenset({"store", "feed", "queue", "bus", "subscription", "documents"})
"""Ports a partition cuts a node off from; providers and merchants are elsewhere."""

READS = frozenset(
    {"get", "query", "query_index", "history", "read", "wait", "receive", "lag", "depth", "find", "subscribe"}
)
Method = Callable[..., Awaitable[Any]]


class Port:
    """Stands in for `inner`: the same calls, and what may happen on the way."""

    def __init__(self, node: Node, name: str, inner: Any) -> None:
        for method_name in _methods(type(inner)):
            setattr(self, method_name, _call(node, f"{name}.{method_name}", getattr(inner, method_name)))


@cache
def _methods(kind: type) -> tuple[str, ...]:
    return tuple(name for name, _ in getmembers(kind, iscoroutinefunction) if not name.startswith("_"))


def _call(node: Node, label: str, method: Method) -> Method:
    place = node.place(label)
    port, _, called = label.partition(".")
    cut = port in REMEMBERS
    step = node.step

    async def read(*args: Any, **kwargs: Any) -> Any:
        await step(label, cut)
        fault = place.draw()
        result = await (method(*args, **kwargs) if fault is None else _MEETS[fault](place, method, args, kwargs))
        return Port(node, "subscription", result) if called == "subscribe" else result

    async def change(*args: Any, **kwargs: Any) -> Any:
        await step(label, cut)
        fault = place.draw()
        result = await (method(*args, **kwargs) if fault is None else _MEETS[fault](place, method, args, kwargs))
        if fault == "standstill":
            node.stand(place.random)
        await step(label, False)
        return result

    return read if called in READS else change


async def _throttled(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    raise StoreUnavailable("throttled")


async def _conflict(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    """A transaction that met another one, though no condition failed."""
    raise WriteConflict(args[0][0].key)


async def _request_lost(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    raise OutcomeUnknown("timed out")


async def _answer_lost(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    await method(*args, **kwargs)
    raise OutcomeUnknown("timed out")


async def _sent_and_denied(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    await method(*args, **kwargs)
    raise StoreUnavailable("timed out")


async def _standstill(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    return await method(*args, **kwargs)  # and then it stands


async def _slow(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    """On the way there, or on the way back."""
    there = place.random.random() < 0.5
    pause_s = SLOW_MOST_S * place.random.random() ** 3
    if there:
        await asyncio.sleep(pause_s)
    result = await method(*args, **kwargs)
    if not there:
        await asyncio.sleep(pause_s)
    return result


async def _duplicated(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    await method(*args, **kwargs)
    return await method(*args, **kwargs)


async def _delayed(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    late = DELAY_MOST_S * place.random.random()
    return await method(*args, **{**kwargs, "delay_s": kwargs.get("delay_s", 0.0) + late})


async def _redelivered(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    """What is received comes again to somebody else, as if sent twice."""
    messages = await method(*args, **kwargs)
    queue = method.__self__  # type: ignore[attr-defined]
    for message in messages:
        await queue.send(args[0], message.body, delay_s=place.random.random() * 2)
    return messages


async def _reordered(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    messages = list(await method(*args, **kwargs))
    place.random.shuffle(messages)
    return messages


async def _cut_short(place: Place, method: Method, args: Any, kwargs: Any) -> Any:
    """A batch of one: less than there is."""
    return await method(*args, **{**kwargs, "limit": 1})


_MEETS: dict[str, Callable[[Place, Method, Any, Any], Awaitable[Any]]] = {
    "throttled": _throttled,
    "conflict": _conflict,
    "request_lost": _request_lost,
    "answer_lost": _answer_lost,
    "sent_and_denied": _sent_and_denied,
    "slow": _slow,
    "standstill": _standstill,
    "duplicated": _duplicated,
    "delayed": _delayed,
    "redelivered": _redelivered,
    "reordered": _reordered,
    "cut_short": _cut_short,
}
