"""A small HTTP server on loopback that publishes a key set and can be told to misbehave."""

import asyncio
import json
from contextlib import asynccontextmanager

from aiohttp import web


class JwksServer:
    def __init__(self):
        self.keys = []
        self.asked = 0
        self.status = 200
        self.raw = None
        """Sent instead of the key set."""
        self.location = None
        self.gate = None
        """An Event that answers wait for."""
        self.uri = ""
        self.elsewhere = 0
        """Requests for other paths."""

    def publish(self, *keys):
        self.keys = [key.as_dict(private=False) for key in keys]

    async def answer(self, request):
        if request.path != "/jwks":
            self.elsewhere += 1
            return web.json_response({"keys": self.keys})
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        headers = {"Location": self.location} if self.location else {}
        body = self.raw if self.raw is not None else json.dumps({"keys": self.keys}).encode()
        return web.Response(status=self.status, body=body, headers=headers, content_type="application/json")


@asynccontextmanager
async def jwks_server(*keys):
    server = JwksServer()
    server.publish(*keys)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.uri = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    try:
        yield server
    finally:
        if server.gate is not None:
            server.gate.set()
        await asyncio.wait_for(runner.cleanup(), 5)
