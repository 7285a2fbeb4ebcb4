"""Clients of the emulator."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore import UNSIGNED

from tests.counterparts.aws import CREDENTIALS, REGION
from tests.scenarios.backing import CHOICE

OfLoops = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, "Clients"]]


class Clients:
    """Those of one event loop at one endpoint, made when first used and shared by the hundreds of worlds of a story.

    They neither sign nor check what they send, which is a sixth of a call: the contract tests' clients do.
    """

    _session: AioSession = get_session()
    _here: ClassVar[OfLoops] = weakref.WeakKeyDictionary()

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._lock = asyncio.Lock()
        self._made: dict[str, Any] = {}
        self._held = AsyncExitStack()

    @classmethod
    def here(cls, endpoint: str) -> Clients:
        made = cls._here.setdefault(asyncio.get_running_loop(), {})
        if endpoint not in made:
            made[endpoint] = cls(endpoint)
            CHOICE.at_last.append(made[endpoint].close)
        return made[endpoint]

    async def of(self, service: str) -> Any:
        async with self._lock:
            if service not in self._made:
                config = AioConfig(
                    retries={"total_max_attempts": 1}, signature_version=UNSIGNED, parameter_validation=False
                )
                given: Any = {"region_name": REGION, "endpoint_url": self._endpoint, "config": config, **CREDENTIALS}
                client = self._session.create_client(service, **given)
                self._made[service] = await self._held.enter_async_context(client)
            return self._made[service]

    async def close(self) -> None:
        self._made.clear()
        await self._held.aclose()
