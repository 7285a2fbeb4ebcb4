from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest_asyncio

from interlock.entrypoints.http.server import HttpServer
from tests.entrypoints.http.example import Example


class Served(NamedTuple):
    example: Example
    port: int


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    example = Example()
    server = HttpServer(example.app)
    port = await server.start()
    yield Served(example, port)
    await server.stop()
