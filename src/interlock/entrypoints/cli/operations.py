"""`interlock webhooks list|retry`, `queue list|redrive` and `doctor`."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from interlock.bootstrap import DATABASE_FILE, QUEUES, SECRETS_FILE, Platform, queue_names
from interlock.core.access.audit import audit_event
from interlock.core.kernel import ids
from interlock.core.kernel.clock import rfc3339
from interlock.core.webhooks.handlers import retry_delivery
from interlock.core.webhooks.listing import Wanted, find_deliveries
from interlock.core.webhooks.states import DeliveryStatus
from interlock.core.webhooks.views import delivery_view
from interlock.entrypoints.cli.client import ApiClient, ApiError
from interlock.entrypoints.cli.options import Data, Json, err, out, running, settings_of
from interlock.entrypoints.cli.stored import ACTOR, request_of, with_stored
from interlock.entrypoints.local import READY_FILE, TENANT

webhooks = typer.Typer(no_args_is_help=True, help="Webhook deliveries.")
queue = typer.Typer(no_args_is_help=True, help="Queues and their dead letters.")
DISK_FREE_MIN = 500_000_000
PLATFORM = "platform"
"""The tenant of what an operator does to the platform as a whole."""


@webhooks.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only those.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only to this endpoint.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    tenant: Annotated[str, typer.Option(help="Whose deliveries.")] = TENANT,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Deliveries, newest first."""
    wanted = Wanted(endpoint=endpoint, status=status)

    async def work(platform: Platform) -> list[Any]:
        found = await find_deliveries(platform.webhooks, tenant, wanted, limit=limit)
        return [msgspec.to_builtins(delivery_view(delivery)) for delivery in found.deliveries]

    found = with_stored(data, work)
    if as_json:
        out.print_json(data=found)
        return
    table = Table("delivery", "event type", "endpoint", "status", "attempts", "next attempt", box=None)
    for one in found:
        table.add_row(
            one["id"],
            one["type"],
            one["endpoint"],
            one["status"],
            str(one["attempts_total"]),
            one["next_attempt_at"] or "",
        )
    out.print(table)


@webhooks.command("retry")
def retry(
    delivery_id: str, tenant: Annotated[str, typer.Option(help="Whose delivery.")] = TENANT, data: Data = None
) -> None:
    """Attempt one delivery again, now."""

    async def work(platform: Platform) -> None:
        request = request_of(tenant, platform.storage.ids.new(ids.REQUEST))
        await retry_delivery(platform.webhooks, delivery_id, request)

    with_stored(data, work)
    out.print(f"{delivery_id} is attempted again", markup=False)


@queue.command("list")
def list_queues(
    name: Annotated[str | None, typer.Argument(help="Show this queue's dead letters.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Depth of every queue, or the dead letters of one."""

    async def work(platform: Platform) -> list[dict[str, Any]]:
        if name is None:
            return [
                {"queue": one, **(await platform.storage.queue.depth(one))._asdict()} for one in queue_names(platform)
            ]
        dead = await platform.storage.queue.dead_letters(name, limit=limit)
        return [
            {
                "id": letter.id,
                "attempts": letter.attempts,
                "sent_at": rfc3339(letter.sent_at),
                "died_at": rfc3339(letter.died_at),
                "body": letter.body.decode(errors="replace"),
            }
            for letter in dead
        ]

    rows = _known_queue(name, lambda: with_stored(data, work))
    if as_json:
        out.print_json(data=rows)
        return
    if not rows:
        out.print("no dead letters")
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out.print(table)


@queue.command("redrive")
def redrive(
    name: str,
    letters: Annotated[
        list[str] | None, typer.Argument(help="Ids of dead letters; all of them if none is named.")
    ] = None,
    data: Data = None,
) -> None:
    """Give dead letters another chance."""

    async def work(platform: Platform) -> int:
        storage = platform.storage
        chosen = list(letters or ())
        if not chosen:
            chosen = [letter.id for letter in await storage.queue.dead_letters(name, limit=1000)]
        write, event = audit_event(
            storage.ids,
            storage.clock.now(),
            actor=ACTOR,
            action="queue.redriven",
            target=name,
            tenant=PLATFORM,
            detail={"count": len(chosen)},
        )
        # Before it is done, so that nothing is done without a record.
        await storage.store.commit([write], [event])
        return await storage.queue.redrive(name, chosen)

    out.print(f"{_known_queue(name, lambda: with_stored(data, work))} redriven")


def _known_queue(name: str | None, work: Callable[[], Any]) -> Any:
    if name is not None and name not in {spec.name for spec in QUEUES}:
        err.print(f"there is no queue {name}; there are {', '.join(spec.name for spec in QUEUES)}", markup=False)
        raise typer.Exit(2)
    return work()


def doctor(data: Data = None, as_json: Json = False) -> None:
    """Look for what usually goes wrong on this machine, and say what to do. Status 1 if anything is wrong."""
    folder = Path(settings_of(data).data)
    checks = [
        _check("Python is 3.11 or later", sys.version_info >= (3, 11), "install a newer Python"),
        _check("the data folder exists", folder.is_dir(), "run `interlock up` once"),
    ]
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        checks += [
            _check("the data folder can be written", os.access(folder, os.W_OK), f"chown or chmod {folder}"),
            _check(
                f"{free // 1_000_000} MB are free",
                free >= DISK_FREE_MIN,
                f"make room: at least {DISK_FREE_MIN // 1_000_000} MB",
            ),
            _private(folder / SECRETS_FILE),
        ]
        if (folder / DATABASE_FILE).exists():
            checks.append(_check("the database opens and passes its quick check", _sound(data), "restore a backup"))
        if (folder / READY_FILE).exists():
            checks.append(_answers(data))
    wrong = [check for check in checks if not check["ok"]]
    if as_json:
        out.print_json(data=checks)
    else:
        for check in checks:
            mark = "ok   " if check["ok"] else "WRONG"
            out.print(f"{mark} {check['what']}" + ("" if check["ok"] else f": {check['advice']}"), markup=False)
    if wrong:
        raise typer.Exit(1)


def _check(what: str, ok: bool, advice: str) -> dict[str, Any]:
    return {"what": what, "ok": ok, "advice": advice}


def _private(path: Path) -> dict[str, Any]:
    ok = not path.exists() or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    return _check("the secrets file is readable by its owner only", ok, f"chmod 600 {path}")


def _sound(data: Path | None) -> bool:
    async def work(platform: Platform) -> bool:
        database = platform.storage.database
        assert database is not None  # this machine's
        found = database.read(lambda connection: connection.execute("PRAGMA quick_check(1)").fetchone())
        return bool(found) and found[0] == "ok"

    try:
        return with_stored(data, work)
    except typer.Exit:  # it has said why it cannot be opened
        return False


def _answers(data: Path | None) -> dict[str, Any]:
    client = ApiClient(running(data))
    try:
        client.get("/readyz")
    except ApiError as error:
        return _check("the running platform is ready", False, str(error))
    return _check("the running platform is ready", True, "")
