"""`interlock clients create|rotate|disable|list`, `keys rotate` and `secrets set`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from interlock.bootstrap import Platform, keep_credential
from interlock.core.access.audit import audit_event
from interlock.core.access.commands import CreateClient, DisableClient, RotateClientSecret, RotateSigningKey
from interlock.core.access.handlers import create_client, disable_client, rotate_client_secret, rotate_signing_key
from interlock.core.access.model import Client
from interlock.core.access.records import list_clients
from interlock.entrypoints.cli.options import Data, Json, err, out
from interlock.entrypoints.cli.stored import ACTOR, with_stored
from interlock.entrypoints.local import TENANT

clients = typer.Typer(no_args_is_help=True, help="Software that may ask for tokens.")
keys = typer.Typer(no_args_is_help=True, help="Keys that sign tokens.")
secrets = typer.Typer(no_args_is_help=True, help="Credentials of providers.")
Tenant = Annotated[str, typer.Option(help="Whose client.")]


@clients.command("create")
def create(
    name: str,
    scope: Annotated[list[str], typer.Option(help="Repeat for several; `payments:*` for all of one kind.")],
    tenant: Tenant = TENANT,
    public_keys: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JWK Set of a client that signs assertions.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a client. Its secret is shown once, here."""
    command = CreateClient(tenant, name, tuple(scope), public_keys.read_text() if public_keys else "")

    async def work(platform: Platform) -> tuple[Client, str]:
        made = await create_client(platform.access, command, actor=ACTOR)
        return made.client, made.secret.reveal() if made.secret else ""

    client, secret = with_stored(data, work)
    _show(client.id, secret, as_json)


@clients.command("rotate")
def rotate(client_id: str, data: Data = None, as_json: Json = False) -> None:
    """Give a client a new secret; the old one works for another day."""

    async def work(platform: Platform) -> str:
        made = await rotate_client_secret(platform.access, RotateClientSecret(client_id), actor=ACTOR)
        return made.secret.reveal() if made.secret else ""

    _show(client_id, with_stored(data, work), as_json)


@clients.command("disable")
def disable(client_id: str, reason: str = "", data: Data = None) -> None:
    """Take a client's access away; its tokens end within seconds."""

    async def work(platform: Platform) -> None:
        await disable_client(platform.access, DisableClient(client_id, reason), actor=ACTOR)

    with_stored(data, work)
    out.print(f"{client_id} is disabled", markup=False)


@clients.command("list")
def list_(tenant: Tenant = TENANT, data: Data = None) -> None:
    """The clients of a tenant."""

    async def work(platform: Platform) -> list[Client]:
        return list(await list_clients(platform.storage.store, tenant))

    table = Table("client", "name", "scopes", "", box=None)
    for client in with_stored(data, work):
        table.add_row(client.id, client.name, " ".join(client.scopes), "disabled" if client.disabled_at else "")
    out.print(table)


@keys.command("rotate")
def rotate_keys(
    compromised: Annotated[bool, typer.Option(help="Refuse every token signed so far, at once.")] = False,
    data: Data = None,
) -> None:
    """Publish a new signing key; it signs once everybody has had time to fetch it."""

    async def work(platform: Platform) -> str:
        command = RotateSigningKey(delay=0, drop_previous=True) if compromised else RotateSigningKey()
        return (await rotate_signing_key(platform.access, command, actor=ACTOR)).id

    out.print(f"new key {with_stored(data, work)}", markup=False)


@secrets.command("set")
def set_secret(provider: str, credential: str, data: Data = None) -> None:
    """Keep a provider's credential, read from standard input, e.g. `secrets set stripe secret_key`."""
    value = sys.stdin.readline().strip()
    if not value:
        err.print("nothing came on standard input")
        raise typer.Exit(2)

    async def work(platform: Platform) -> None:
        storage = platform.storage
        await keep_credential(storage, provider, credential, value)
        write, event = audit_event(
            storage.ids,
            storage.clock.now(),
            actor=ACTOR,
            action="secret.set",
            target=f"provider/{provider}/{credential}",
            tenant="platform",
            detail={},
        )
        await storage.store.commit([write], [event])

    with_stored(data, work, make=True)
    out.print(f"provider/{provider}/{credential} is kept; it takes effect when the platform starts", markup=False)


def _show(client_id: str, secret: str, as_json: bool) -> None:
    if as_json:
        out.print_json(data={"client_id": client_id, "client_secret": secret})
        return
    out.print(f"client_id      {client_id}", markup=False)
    if secret:
        out.print(f"client_secret  {secret}   (shown once)", markup=False)
