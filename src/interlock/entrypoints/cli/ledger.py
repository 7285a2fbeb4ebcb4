"""`interlock ledger verify|export|balances`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from interlock.bootstrap import Platform
from interlock.core.desk.risk.looking import prove
from interlock.core.ledger.export import Format, decimal, export
from interlock.core.ledger.handlers import read_balances
from interlock.core.ledger.verification import Report, verify
from interlock.core.payments.verification import payment_check
from interlock.entrypoints.cli.options import Data, Json, fail, out
from interlock.entrypoints.cli.stored import with_stored
from interlock.entrypoints.effects import watch_of
from interlock.entrypoints.local import TENANT

ledger = typer.Typer(no_args_is_help=True, help="The double-entry ledger.")


@ledger.command("verify")
def verify_ledger(
    record: Annotated[
        bool, typer.Option("--record", help="Have the desk show what is found, and end what is found no more.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Replay every event, and hold journals, balances and payments against each other. Status 1 for any difference."""

    async def work(platform: Platform) -> Report:
        storage = platform.storage
        if record:
            return await prove(watch_of(storage), storage.histories)
        return await verify(storage.store, storage.histories, check_payment=payment_check(storage.store))

    report = with_stored(data, work)
    if as_json:
        out.print_json(data={"sound": report.sound, **msgspec.to_builtins(report._asdict())})
    else:
        out.print(
            f"{report.events} events, {report.journals} journals, {report.payments} payments read; "
            f"{report.behind} journals not yet in the balances"
        )
        for finding in report.findings:
            out.print(f"{finding.code}  {finding.tenant}  {finding.subject}  {finding.detail}", markup=False)
        if report.more:
            out.print(f"... and {report.more} more")
        out.print("the ledger is sound" if report.sound else "THE LEDGER IS NOT SOUND")
    if not report.sound:
        raise typer.Exit(1)


@ledger.command("export")
def export_journals(
    format: Annotated[Format, typer.Option(help="hledger, beancount or csv.")] = Format.HLEDGER,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output if absent.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's journals.")] = None,
    data: Data = None,
) -> None:
    """Every journal as plain-text accounting."""

    async def work(platform: Platform) -> None:
        file = sys.stdout if output is None else output.open("w", encoding="utf-8")
        try:
            async for piece in export(platform.storage.histories, format, tenant=tenant):
                file.write(piece)
        finally:
            if output is not None:
                file.close()

    try:
        with_stored(data, work)
    except (OSError, ValueError) as error:
        fail(str(error))


@ledger.command("balances")
def show_balances(
    tenant: Annotated[str, typer.Option(help="Whose accounts.")] = TENANT, data: Data = None, as_json: Json = False
) -> None:
    """Balances of every account that was ever posted to."""

    async def work(platform: Platform) -> Any:
        view = await read_balances(platform.storage.store, tenant, now=platform.storage.clock.now())
        return msgspec.to_builtins(view)

    view = with_stored(data, work)
    if as_json:
        out.print_json(data=view)
        return
    table = Table("account", "side", "balance", "", box=None)
    table.columns[2].justify = "right"
    for one in view["data"]:
        table.add_row(one["code"], one["normal_side"], decimal(one["balance"], one["currency"]), one["currency"])
    out.print(table)
    out.print(f"as of {view['as_of'] or 'never'}", markup=False)
