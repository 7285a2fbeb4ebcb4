"""Runs inside localstripe's own virtual environment: serves it on a free loopback port, which it prints, and keeps no file.

Its own command would listen on every address and share a file in /tmp with other runs.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web
from localstripe import resources, server

resources.Store.dump_to_disk = lambda self: None


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    runner = web.AppRunner(server.app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
