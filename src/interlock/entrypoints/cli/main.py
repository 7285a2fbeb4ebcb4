"""`interlock`: every command in one place."""

from __future__ import annotations

import typer

from interlock.entrypoints.cli import clients, desk, ledger, operations, payments, release, up, workflows
from interlock.entrypoints.cli.demo import demo

app = typer.Typer(
    name="interlock",
    help="A payments platform that cannot move money twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
for command in (
    up.up,
    up.api,
    up.worker,
    demo,
    up.token,
    payments.pay,
    payments.explain,
    desk.reproduce,
    operations.doctor,
):
    app.command()(command)
for name, group in {
    "payments": payments.payments,
    "events": payments.events,
    "webhooks": operations.webhooks,
    "queue": operations.queue,
    "ledger": ledger.ledger,
    "workflows": workflows.workflows,
    "release": release.release,
    "dr": release.recovery,
    "desk": desk.desk,
    "slo": desk.slo,
    "audit": desk.audit,
    "operators": desk.operators,
    "clients": clients.clients,
    "keys": clients.keys,
    "secrets": clients.secrets,
}.items():
    app.add_typer(group, name=name)


def main() -> None:
    app()
