"""`interlock up` and `interlock token`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from interlock.core.kernel.errors import InterlockError
from interlock.entrypoints import local
from interlock.entrypoints.cli.client import ApiClient, ApiError
from interlock.entrypoints.cli.options import Data, SettingsFile, fail, out, running, settings_of

DEMO_PAYMENT = '{"amount":1999,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"}}'


def up(
    data: Data = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.", show_default="8080")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Written as JSON when everything answers.")] = None,
    settings: SettingsFile = None,
    simulator: Annotated[bool, typer.Option(help="Run the provider simulator, too.")] = True,
) -> None:
    """Run the platform on this machine until interrupted: API, worker and provider simulator."""
    loaded = settings_of(data, settings, port=port, webhook_allow_loopback=True)

    def on_ready(ready: local.Ready) -> None:
        out.print(f"Interlock is up, data in {loaded.data}", markup=False)
        out.print(f"  API        {ready.base_url}   (document: {ready.base_url}/openapi.json, metrics: /metrics)")
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

    try:
        uvloop.run(local.run(loaded, simulator=simulator, ready_file=ready_file, on_ready=on_ready))
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
