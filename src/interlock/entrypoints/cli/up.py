"""`interlock up`, its parts `interlock api` and `interlock worker`, and `interlock token`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from interlock.core.kernel.errors import InterlockError
from interlock.entrypoints import local
from interlock.entrypoints.cli.client import ApiClient, ApiError
from interlock.entrypoints.cli.options import Data, SettingsFile, fail, out, running, settings_of
from interlock.entrypoints.folder import Role

ApiPort = Annotated[
    int | None, typer.Option("--port", help="Port of the API; 0 takes a free one.", show_default="8080")
]
ReadyFile = Annotated[Path | None, typer.Option(help="Written as JSON when everything answers.")]
WORKER = (sys.executable, "-m", "interlock.entrypoints.cli", "worker")
DEMO_PAYMENT = '{"amount":1999,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"}}'


def up(
    data: Data = None,
    port: ApiPort = None,
    ready_file: ReadyFile = None,
    settings: SettingsFile = None,
    simulator: Annotated[bool, typer.Option(help="Run the provider simulator, too.")] = True,
    empty: Annotated[
        bool, typer.Option("--empty", help="Without the sample day that a new data folder is filled with.")
    ] = False,
    worker_apart: Annotated[
        bool, typer.Option("--worker-apart", help="Run the worker in a process of its own, for another core.")
    ] = False,
) -> None:
    """Run the platform on this machine until interrupted: API, worker and provider simulator."""
    loaded = settings_of(data, settings, port=port, webhook_allow_loopback=True)

    def on_ready(ready: local.Ready) -> None:
        out.print(f"Interlock is up, data in {loaded.data}", markup=False)
        out.print(f"  API        {ready.base_url}   (document: {ready.base_url}/openapi.json, metrics: /metrics)")
        password = Path(loaded.data) / local.READY_FILE
        how = (
            f"sign in as {ready.console_user}, password in {password}"
            if ready.console_user
            else "sign in at the issuer"
        )
        out.print(f"  console    {ready.console_url}   ({how})", markup=False)
        if ready.simulator_url:
            out.print(f"  simulator  {ready.simulator_url}/books   (providers: {', '.join(ready.providers)})")
        out.print(f"  logs       {Path(loaded.data) / local.LOG_FILE}", markup=False)
        out.print("A payment, ready to paste:")
        out.print(
            f"  curl -s {ready.base_url}/v1/payments"
            f' -H "Authorization: Bearer $(.venv/bin/interlock token --data {loaded.data})"'
            f' -H "Idempotency-Key: first-payment" -H "Content-Type: application/json" -d \'{DEMO_PAYMENT}\'',
            markup=False,
        )
        out.print("Ctrl-C stops it.")

    roles = (Role.API,) if worker_apart else tuple(Role)
    apart = local.WorkerApart(WORKER, os.environ) if worker_apart else None
    _run(
        local.run(
            loaded,
            roles=roles,
            worker_apart=apart,
            simulator=simulator,
            sample_day=not empty,
            ready_file=ready_file,
            on_ready=on_ready,
        )
    )


def api(data: Data = None, port: ApiPort = None, ready_file: ReadyFile = None, settings: SettingsFile = None) -> None:
    """Run the API alone until interrupted; `interlock worker` on the same folder, or the same AWS, does the rest."""
    loaded = settings_of(data, settings, port=port)
    if loaded.aws is not None:
        _run_on_aws(lambda on_aws: on_aws.run_api(loaded, on_ready=lambda url: out.print(f"The API answers at {url}")))
        return

    def on_ready(ready: local.Ready) -> None:
        out.print(f"The API answers at {ready.base_url}, data in {loaded.data}", markup=False)

    _run(local.run(loaded, roles=(Role.API,), simulator=False, ready_file=ready_file, on_ready=on_ready))


def worker(
    data: Data = None,
    port: Annotated[
        int | None, typer.Option(help="Port of its health and metrics; 0 takes a free one.", show_default="none")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Run the worker alone until interrupted: what the platform does by itself on a folder that `interlock api` serves."""
    loaded = settings_of(data, settings)
    if loaded.aws is not None:
        _run_on_aws(lambda on_aws: on_aws.run_worker(loaded, port=port))
        return

    def on_ready(url: str | None) -> None:
        shown = f", metrics at {url}/metrics" if url else ""
        out.print(f"The worker runs, data in {loaded.data}{shown}", markup=False)

    _run(local.run_worker(loaded, port=port, on_ready=on_ready))


def _run_on_aws(start: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """What it needs is imported here: one machine has none of it."""
    try:
        from interlock.entrypoints import on_aws
    except ImportError as error:
        fail(f"cannot start: {error.name} is not installed; AWS needs the extra `aws`")
    else:
        _run(start(on_aws))


def _run(platform: Coroutine[Any, Any, None]) -> None:
    try:
        uvloop.run(platform)
    except (local.DataInUse, OSError, ValueError, InterlockError) as error:
        fail(f"cannot start: {error}")
    except asyncio.CancelledError:
        return


def token(data: Data = None) -> None:
    """Print an access token of this machine's client, for curl."""
    try:
        out.print(ApiClient(running(data)).token(), markup=False)
    except ApiError as error:
        fail(str(error))
