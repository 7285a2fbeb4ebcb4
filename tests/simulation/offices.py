"""What a merchant's staff does while customers pay: new routing rules, a new signing secret, webhooks asked for once more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.idempotency import Request
from interlock.core.routing.model import Rule
from interlock.core.webhooks.commands import UpdateEndpoint
from interlock.core.webhooks.handlers import retry_delivery, update_endpoint
from interlock.core.webhooks.records import decode_delivery, deliveries_partition
from tests.simulation.node import Died, Node

if TYPE_CHECKING:
    from tests.simulation.shops import Shop
    from tests.simulation.world import World

ACTS = 4
PAUSE_MOST_S = 8.0
TRIES_MAX = 20


class Office:
    def __init__(self, world: World, shop: Shop) -> None:
        self._world, self._shop = world, shop
        self._dice = world.chaos.stream(f"{shop.tenant}/office")

    async def work(self) -> None:
        for _ in range(ACTS):
            await asyncio.sleep(self._dice.random() * PAUSE_MOST_S)
            await self._dice.choice((self._route, self.rotate, self._tell_again))()

    async def _route(self) -> None:
        """Both companies in another order, or one alone."""
        order = self._dice.choice([("simulator_a", "simulator_b"), ("simulator_b", "simulator_a"), ("simulator_b",)])
        rules = (Rule("default", providers=order),)
        await self._ask(
            lambda node: node.payments.rules.replace(self._shop.tenant, rules, node.engine),
        )

    async def rotate(self) -> None:
        """A new secret. Until it is known for certain which one is valid, the endpoint takes nothing."""
        endpoint = self._shop.endpoint
        endpoint.locked = True
        for _ in range(TRIES_MAX):
            made = await self._ask(self._rotation)
            if made is not None:
                endpoint.secrets = [made[1], *endpoint.secrets]
                endpoint.locked = False
                return
            await asyncio.sleep(self._dice.random() * 2)

    def _rotation(self, node: Node) -> Coroutine[Any, Any, Any]:
        command = UpdateEndpoint(rotate_secret=True)
        return update_endpoint(node.webhooks, self._shop.endpoint.id, command, self._request())

    async def _tell_again(self) -> None:
        """One of the webhooks there are, by hand."""
        payments = [known.payment for known in self._world.watch.payments.values()]
        mine = [one for one in payments if one.tenant == self._shop.tenant]
        if not mine:
            return
        page = await self._world.store.query(deliveries_partition(self._shop.tenant, self._dice.choice(mine).id))
        if page.items:
            delivery = decode_delivery(self._dice.choice(page.items))
            await self._ask(lambda node: retry_delivery(node.webhooks, delivery.id, self._request()))

    async def _ask(self, work: Any) -> Any:
        """What came of it; None if it was refused or nobody knows."""
        try:
            node = self._world.api_node(self._dice.random())
            task = node.serve(work(node))
        except Died:
            return None
        await asyncio.wait((task,))  # to its end: what goes on unheard would make a secret nobody knows
        if task.cancelled() or isinstance(task.exception(), InterlockError):
            return None
        self._world.trace.add(self._shop.tenant, "office", type(task.result()).__name__)
        return task.result()

    def _request(self) -> Request:
        return Request(self._shop.tenant, None, "", f"cli_{self._shop.tenant}", "req")
