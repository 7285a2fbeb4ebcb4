"""The platform inside the test's own event loop: real SQLite, real sockets, its own worker. For tests of whole stories."""

import asyncio
import io
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from interlock.bootstrap import keep_credential, open_platform, open_storage
from interlock.config import Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.scopes import SCOPES
from interlock.core.ledger.verification import verify
from interlock.core.payments.verification import payment_check
from interlock.entrypoints import worker
from interlock.entrypoints.http.api import api
from interlock.entrypoints.http.server import HttpServer, reserve

TENANT = "ten_1"


class RunningPlatform:
    """Reach it over HTTP with `ask`; look behind it through `platform`."""

    def __init__(self, platform, base_url: str, session: aiohttp.ClientSession) -> None:
        self.platform, self.base_url, self.session = platform, base_url, session
        self.token = ""

    async def log_in(self, tenant: str = TENANT, scopes=tuple(SCOPES)) -> str:
        """A fresh token of a fresh client."""
        made = await create_client(self.platform.access, CreateClient(tenant, "test", tuple(scopes)), actor="test")
        authorization = aiohttp.encode_basic_auth(made.client.id, made.secret.reveal())
        async with self.session.post(
            f"{self.base_url}/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": authorization},
        ) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["access_token"]

    async def ask(self, method: str, path: str, body=None, *, key: str | None = None, token: str | None = None):
        """Status, decoded body."""
        self.token = token or self.token or await self.log_in()
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        async with self.session.request(method, f"{self.base_url}{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def until(self, payment_id: str, holds, *, timeout_s: float = 20.0) -> dict:
        """The payment once `holds(payment)`."""
        async with asyncio.timeout(timeout_s):
            while True:
                _, payment = await self.ask("GET", f"/v1/payments/{payment_id}")
                if holds(payment):
                    return payment
                await asyncio.sleep(0.02)

    async def verified(self):
        storage = self.platform.storage
        return await verify(storage.store, storage.feed, check_payment=payment_check(storage.store))


@asynccontextmanager
async def running(data: Path, *, providers=(), credentials=(), **settings):
    """A platform with `providers` (ProviderSettings) and `credentials` ((provider, name, value), ...)."""
    address = reserve("127.0.0.1")
    port = address.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    made = Settings(
        data=str(data),
        port=port,
        providers=tuple(providers),
        webhook_allow_loopback=True,
        sweep_interval_s=0.05,
        **settings,
    )
    storage = open_storage(made, log=io.BytesIO())
    for credential in credentials:
        await keep_credential(storage, *credential)
    platform = await open_platform(made, storage, issuer=base_url)
    await ensure_signing_key(platform.access)
    stop = asyncio.Event()
    loops = worker.loops(platform, member="test")
    work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
    try:
        async with HttpServer(api(platform), reserved=address), aiohttp.ClientSession() as session:
            yield RunningPlatform(platform, base_url, session)
    finally:
        stop.set()
        await work
        await platform.close()
