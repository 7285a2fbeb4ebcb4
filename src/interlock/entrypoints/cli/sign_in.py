"""The issuer at which people sign in to the console: its client secret, and whether it can be worked with."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import typer

from interlock.bootstrap import Platform
from interlock.bootstrap_desk import keep_issuer_secret
from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.kernel.errors import InterlockError
from interlock.entrypoints.cli.options import Data, Json, SettingsFile, err, fail, out, settings_of
from interlock.entrypoints.cli.stored import ACTOR, opened, with_stored
from interlock.entrypoints.console.issuer_pages import redirect_uri, signed_out_uri


def issuer_secret(data: Data = None) -> None:
    """Keep the client secret that the issuer gave this console, read from standard input. It works at once."""
    value = sys.stdin.readline().strip()
    if not value:
        err.print("nothing came on standard input")
        raise typer.Exit(2)

    async def work(platform: Platform) -> None:
        storage = platform.storage
        await keep_issuer_secret(storage.secrets, value)
        write, event = audit_event(
            storage.ids, storage.clock.now(), actor=ACTOR, action="secret.set", target="console", tenant=PLATFORM
        )
        await storage.store.commit([write], [event])

    with_stored(data, work, make=True)
    out.print("the client secret is kept")


def issuer(data: Data = None, settings: SettingsFile = None, as_json: Json = False) -> None:
    """Ask the issuer of the settings what it says of itself, and say what to register there; status 1 where it cannot be used."""
    loaded = settings_of(data, settings)
    origin = loaded.base_url or f"http://{loaded.host}:{loaded.port}"

    async def work() -> dict[str, Any]:
        async with opened(loaded) as platform:
            at = platform.desk.operators.at_issuer
            if at is None:
                fail("no issuer is set: sign_in")
            metadata = await at.endpoints.metadata()
            return {
                "issuer": at.trusted.issuer,
                "client_id": at.trusted.client_id,
                "redirect_uri": redirect_uri(origin),
                "post_logout_redirect_uri": signed_out_uri(origin),
                "authorization_endpoint": metadata.authorization_endpoint,
                "jwks_uri": metadata.jwks_uri,
                "end_session_endpoint": metadata.end_session_endpoint or None,
                "role_claim": at.trusted.role_claim,
                "roles": dict(at.trusted.roles),
            }

    try:
        found = asyncio.run(work())
    except InterlockError as error:
        fail(error.detail or error.reason)
    if as_json:
        out.print_json(data=found)
        return
    for name, value in found.items():
        if name == "roles":
            for claimed, role in value.items():
                out.print(f"  {claimed} -> {role}", markup=False)
        else:
            out.print(f"{name:<26}{value or '-'}", markup=False)
