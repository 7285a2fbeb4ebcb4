"""Stored data for commands that look at it or mend it, whether or not the platform runs on it: a folder, or what `aws` names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from msgspec.structs import replace

from interlock.bootstrap import DATABASE_FILE, Platform, open_platform, open_storage
from interlock.config import Settings
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.idempotency import Request
from interlock.entrypoints.cli.options import fail, settings_of

T = TypeVar("T")
OFFLINE_ISSUER = "http://127.0.0.1"
"""No token is issued or read by these commands."""
ACTOR = "cli"


def with_stored(
    data: Path | None, work: Callable[[Platform], Awaitable[T]], *, make: bool = False, calling: bool = False
) -> T:
    """Run `work` on the stored data; with `make`, also where there is none yet; with `calling` it may call providers.

    Exit status 1, with the reason, for whatever the platform refuses.
    """
    try:
        return asyncio.run(_run(data, work, make, calling))
    except InterlockError as error:
        fail(error.detail or error.reason)


async def _run(data: Path | None, work: Callable[[Platform], Awaitable[T]], make: bool, calling: bool) -> T:
    settings = settings_of(data)
    if not calling:
        settings = replace(settings, providers=())
    if settings.aws is None and not make and not Path(settings.data, DATABASE_FILE).exists():  # noqa: ASYNC240 - once, before anything runs
        fail(f"there is no data in {settings.data}")
    async with opened(settings) as platform:
        return await work(platform)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Platform]:
    """The stored data as `settings` name it. Nothing runs by itself, and log lines are dropped."""
    with open(os.devnull, "wb") as nowhere:  # noqa: ASYNC230, PTH123
        platform = await _platform(settings, nowhere)
        try:
            yield platform
        finally:
            await platform.close()


async def _platform(settings: Settings, log: BinaryIO) -> Platform:
    if settings.aws is None:
        return await open_platform(settings, open_storage(settings, log=log), issuer=OFFLINE_ISSUER)
    from interlock.bootstrap_aws import open_platform_on_aws  # its libraries are needed there alone

    try:
        return await open_platform_on_aws(settings, log=log)
    except ValueError as error:  # a secret that nobody has filled in
        fail(str(error))


def request_of(tenant: str, request_id: str) -> Request:
    """Who asks, for handlers that want to know."""
    return Request(tenant, None, "", ACTOR, request_id)
