"""`interlock workflows start|show|signal|approve|reject`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer

from interlock.bootstrap import Platform
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.workflows import Execution, Happening
from interlock.core.payments.bulk_refunds import decide_bulk_refund
from interlock.entrypoints.cli.options import Data, fail, out
from interlock.entrypoints.cli.options import Json as AsJson
from interlock.entrypoints.cli.stored import with_stored
from interlock.entrypoints.local import TENANT

workflows = typer.Typer(no_args_is_help=True, help="Long-running work in named steps.")
By = Annotated[str, typer.Option(help="Who decides. A bulk refund is approved by somebody else than who asked for it.")]
Tenant = Annotated[str, typer.Option(help="Whose bulk refund.")]


@workflows.command("start")
def start_workflow(
    workflow: Annotated[str, typer.Argument(help="A file of `workflows/`, without its ending.")],
    id: Annotated[str, typer.Option(help="The same id and input again is the same execution.")],
    input: Annotated[str, typer.Option(help="JSON; `-` reads it from standard input.")] = "{}",
    data: Data = None,
) -> None:
    """Begin an execution; the worker carries it on. Prints its id."""
    given = _json(sys.stdin.read() if input == "-" else input)

    async def work(platform: Platform) -> str:
        try:
            return await platform.workflows.start(workflow, given, id=id)
        except KeyError:
            fail(f"there is no workflow {workflow!r}")

    out.print(with_stored(data, work), markup=False)


@workflows.command("show")
def show_execution(
    execution: Annotated[str, typer.Argument(help="As `start` printed it: workflow/id.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Where an execution is, and what happened in it. Status 1 if it has failed."""

    async def work(platform: Platform) -> tuple[Execution, list[Happening]]:
        return await platform.workflows.describe(execution), await platform.workflows.history(execution)

    found, history = with_stored(data, work)
    if as_json:
        out.print_json(data={**_view(found), "history": [one._asdict() for one in history]})
    else:
        times = rfc3339(found.started_at) + (f" to {rfc3339(found.ended_at)}" if found.ended_at is not None else "")
        out.print(f"{found.id}  {found.status}  {times}", markup=False)
        for one in history:
            out.print(f"  {one.state}  {one.what}  {one.error or ''}".rstrip(), markup=False)
        if found.error is not None:
            out.print(f"{found.error}: {found.cause}", markup=False)
        elif found.output is not None:
            out.print_json(data=found.output)
    if found.error is not None:
        raise typer.Exit(1)


@workflows.command("signal")
def signal_task(
    output: Annotated[str | None, typer.Option(help="The answer, as JSON.")] = None,
    error: Annotated[str | None, typer.Option(help="In the place of an answer: the error the task fails with.")] = None,
    cause: Annotated[str, typer.Option(help="Of the error, for people.")] = "",
    data: Data = None,
) -> None:
    """Answer the task that waits for a token, which is read from standard input: who has it can answer."""
    if (output is None) == (error is None):
        fail("give either --output or --error")
    token = sys.stdin.readline().strip()
    given = None if output is None else _json(output)

    async def work(platform: Platform) -> bool:
        if error is not None:
            return await platform.workflows.signal_failed(token, error=error, cause=cause)
        return await platform.workflows.signal(token, given)

    if not with_stored(data, work):
        fail("no task waits for this token: it was answered, its time is over, or there never was one")
    out.print("answered", markup=False)


@workflows.command("approve")
def approve(
    id: Annotated[str, typer.Argument(help="Of a bulk refund, as it was started.")],
    by: By,
    tenant: Tenant = TENANT,
    data: Data = None,
) -> None:
    """Approve a bulk refund that somebody else asked for."""
    _decide(id, by, tenant, data, approve=True)


@workflows.command("reject")
def reject(
    id: Annotated[str, typer.Argument(help="Of a bulk refund, as it was started.")],
    by: By,
    tenant: Tenant = TENANT,
    data: Data = None,
) -> None:
    """Reject a bulk refund, or take back one's own: nothing is done."""
    _decide(id, by, tenant, data, approve=False)


def _decide(id: str, by: str, tenant: str, data: Any, *, approve: bool) -> None:
    async def work(platform: Platform) -> None:
        await decide_bulk_refund(platform.payments, platform.workflows, tenant=tenant, id=id, by=by, approve=approve)

    with_stored(data, work)
    out.print("approved" if approve else "rejected", markup=False)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        fail(f"no JSON: {error}")


def _view(found: Execution) -> dict[str, Any]:
    times = {
        name: None if at is None else rfc3339(at)
        for name, at in (("started_at", found.started_at), ("ended_at", found.ended_at))
    }
    return {**found._asdict(), **times}
