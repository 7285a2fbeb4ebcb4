"""Clients of the SDK, each made at its first call: loading what one needs takes longer than many calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.backends.aws.calls import Client

CONNECT_S = 1.0
READ_S = 5.0
WAITING_READ_S = 30.0
"""Of a service that holds a call until there is something to say: longer than the 20 seconds it may take."""
WAITING = frozenset({"sqs"})
CONNECTIONS_MOST = 64


class Clients:
    """Of one region, with the credentials the surroundings give: a role's, or the environment's."""

    def __init__(self, region: str, *, endpoint: str = "") -> None:
        """`endpoint` answers for all of AWS: an emulator's. Empty: AWS itself."""
        self._region, self._endpoint = region, endpoint
        self._made = AsyncExitStack()
        self._session: Any = None

    def of(self, service: str) -> Client:
        """A client that is not there yet. Its calls are made once: retries are `Calls`'."""
        return _Lazy(lambda: self._make(service))

    async def close(self) -> None:
        """Safe to repeat."""
        await self._made.aclose()

    async def _make(self, service: str) -> Any:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        if self._session is None:
            self._session = get_session()
        config = AioConfig(
            connect_timeout=CONNECT_S,
            read_timeout=WAITING_READ_S if service in WAITING else READ_S,
            max_pool_connections=CONNECTIONS_MOST,
            retries={"total_max_attempts": 1},
        )
        making = self._session.create_client(
            service, region_name=self._region, endpoint_url=self._endpoint or None, config=config
        )
        return await self._made.enter_async_context(making)


class _Lazy:
    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._make = make
        self._client: Any = None
        self._making = asyncio.Lock()

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(**request: Any) -> Any:
            if self._client is None:
                async with self._making:
                    if self._client is None:
                        self._client = await self._make()
            return await getattr(self._client, operation)(**request)

        return call
