"""`interlock pay`, `payments show|list`, `explain` and `events tail`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.table import Table

from interlock.bootstrap import Platform
from interlock.core.desk.explain.model import Explained, LineView, SpanView
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.feed import START
from interlock.core.kernel.telemetry import Field
from interlock.core.ledger.export import decimal
from interlock.core.payments.events import EVENT_TYPES as PAYMENT_EVENTS
from interlock.core.payments.events import decode_facts
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.projection import PAYMENTS
from interlock.core.payments.timeline import TimelineEntry
from interlock.core.payments.views import PaymentStatus, encode_view, payment_view
from interlock.entrypoints.cli.client import ApiClient, ApiError
from interlock.entrypoints.cli.options import Data, Json, fail, out, running
from interlock.entrypoints.cli.stored import with_stored
from interlock.entrypoints.explain import explain_with_observations
from interlock.entrypoints.local import TENANT

payments = typer.Typer(no_args_is_help=True, help="Look at payments.")
events = typer.Typer(no_args_is_help=True, help="Follow what happens.")
Tenant = Annotated[str, typer.Option(help="Whose payments.")]
CaptureMethod = Literal["automatic", "manual"]


def pay(
    amount: Annotated[int, typer.Argument(help="Minor units, e.g. 1999 for 19.99 EUR.")],
    currency: Annotated[str, typer.Argument(help="ISO 4217.")] = "EUR",
    token: Annotated[str, typer.Option(help="Card token; the simulator's tokens choose what it does.")] = "tok_approve",
    capture_method: Annotated[CaptureMethod, typer.Option(help="Take the money at once, or later.")] = "automatic",
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own name for it.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key; a new one if absent.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a payment on the platform that runs on this machine."""
    body: dict[str, Any] = {
        "amount": amount,
        "currency": currency,
        "payment_method": {"type": "card", "token": token},
        "capture_method": capture_method,
    }
    if provider is not None:
        body["routing"] = {"provider": provider}
    if reference is not None:
        body["reference"] = reference
    client = ApiClient(running(data))
    try:
        _, payment = client.post("/v1/payments", body, key=key or f"cli-{secrets.token_hex(12)}")
    except ApiError as error:
        fail(str(error))
    if as_json:
        out.print_json(data=payment)
    else:
        via = f" at {payment['provider']}" if payment["provider"] else ""
        out.print(f"{payment['id']}  {payment['status']}  {_money(amount, currency)}{via}", markup=False)
        if payment["decline"]:
            out.print(f"declined: {payment['decline']['code']} ({payment['decline']['kind']})", markup=False)


@payments.command("show")
def show(payment_id: str, tenant: Tenant = TENANT, data: Data = None) -> None:
    """One payment as it stands, as JSON."""

    async def work(platform: Platform) -> bytes:
        return encode_view(payment_view((await load_payment(platform.payments, tenant, payment_id)).payment))

    out.print_json(with_stored(data, work).decode())


@payments.command("list")
def list_(
    status: Annotated[PaymentStatus | None, typer.Option(help="Only this status.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only this reference.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    tenant: Tenant = TENANT,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Payments, newest first."""
    where = {name: value for name, value in (("status", status), ("reference", reference)) if value is not None}

    async def work(platform: Platform) -> list[dict[str, Any]]:
        found = await platform.storage.documents.find(PAYMENTS.name, tenant=tenant, where=where, limit=limit)
        return [msgspec.json.decode(document.body) for document in found]

    found = with_stored(data, work)
    if as_json:
        out.print_json(data=found)
        return
    table = Table("payment", "status", "amount", "provider", "reference", "created", box=None)
    table.columns[2].justify = "right"
    for one in found:
        amount = _money(one["amount"], one["currency"])
        table.add_row(
            one["id"], one["status"], amount, one["provider"] or "", one["reference"] or "", one["created_at"]
        )
    out.print(table)


def explain(
    payment_id: str,
    tenant: Tenant = TENANT,
    lines: Annotated[bool, typer.Option("--lines", help="Log lines and spans, too.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Everything that happened to a payment, in order, and what happens next."""

    async def work(platform: Platform) -> Explained:
        return await explain_with_observations(platform, tenant, payment_id)

    story = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(story).decode())
        return
    out.print(f"{story.payment}  {story.status} ({story.state})", markup=False)
    out.print(story.why, markup=False)
    if story.next_at:
        out.print(f"Looked at next: {story.next_at}", markup=False)
    out.print()
    told = [(entry.at, _entry_text(entry)) for entry in story.entries]
    if lines:
        told += [(line.at, _line_text(line)) for line in story.observations.lines]
        told += [(span.at, _span_text(span)) for span in story.observations.spans]
    for _, text in sorted(told, key=lambda one: one[0]):
        out.print(text, markup=False)
    if lines and story.observations.note:
        out.print(story.observations.note, markup=False)
    if lines and story.observations.more:
        out.print("There are later log lines or spans than these.", markup=False)


def _entry_text(entry: TimelineEntry) -> str:
    text = [f"{entry.at}  {entry.kind:<9} {entry.event or ''}", f"    {entry.title}"]
    text += [
        f"    {label}: {value}"
        for label, value in (("by", entry.cause), ("route", entry.route), ("detail", entry.detail))
        if value
    ]
    text += [f"    alarm: {alarm}" for alarm in entry.alarms]
    if entry.journal is not None:
        currency = entry.journal["currency"]
        for account, amount in entry.journal["postings"]:
            side = "debit " if amount > 0 else "credit"
            text.append(f"    {side} {account:<40} {_money(abs(amount), currency):>16}")
    return "\n".join(text)


def _line_text(line: LineView) -> str:
    return f"{line.at}  {'line':<9} {line.level} {line.event}\n    {_fields_text(line.fields, line.trace)}"


def _span_text(span: SpanView) -> str:
    ended = f", ended with {span.error}" if span.error else ""
    return (
        f"{span.at}  {'span':<9} {span.name} took {span.duration_us / 1_000:.2f} ms{ended}\n"
        f"    {_fields_text(span.attributes, span.trace)}"
    )


def _fields_text(fields: Mapping[str, Field], trace: str) -> str:
    named = {**fields, "trace": trace} if trace else fields
    return " ".join(f"{name}={value}" for name, value in named.items())


@events.command("tail")
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Latest events shown first.")] = 20,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """The latest events, one a line."""

    async def work(platform: Platform) -> None:
        feed, position = platform.storage.feed, START
        latest: list[str] = []
        caught_up = False
        while True:
            records = await feed.read(after=position, limit=500)
            for record in records:
                position = record.position
                event = record.event
                if tenant is not None and event.tenant != tenant:
                    continue
                facts = decode_facts(event.facts) if event.type in PAYMENT_EVENTS else None
                line = (
                    msgspec.json.encode(event).decode()
                    if as_json
                    else f"{rfc3339(event.at)}  {event.type:<28} {event.aggregate}  v{event.version}"
                    + (f"  {facts.cause}" if facts else "")
                )
                if caught_up:
                    out.print(line, markup=False)
                else:
                    latest = [*latest, line][-limit:]
            if records:
                continue
            for line in latest:
                out.print(line, markup=False)
            latest, caught_up = [], True
            if not follow:
                return
            await feed.wait(after=position, timeout_s=1.0)

    try:
        with_stored(data, work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return


def _money(amount: int, currency: str) -> str:
    return f"{decimal(amount, currency)} {currency}" if currency in EXPONENTS else f"{amount} {currency}"
