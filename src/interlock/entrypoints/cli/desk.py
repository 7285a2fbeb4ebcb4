"""The desk from the command line: find, measure, prove, reproduce."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from interlock.bootstrap import Platform
from interlock.core.access.audit import PLATFORM
from interlock.core.access.audit_chain import Verified, verify
from interlock.core.desk.explain.bundle import bundle_of, decode_bundle, differences, encode_bundle
from interlock.core.desk.explain.search import Hit, search
from interlock.core.desk.localisation.handlers import find_causes
from interlock.core.desk.localisation.views import FindingView, finding_view
from interlock.core.desk.operators.handlers import add_operator, disable_operator
from interlock.core.desk.operators.records import list_operators
from interlock.core.desk.operators.roles import Role
from interlock.core.desk.risk.commands import ExplainFinding
from interlock.core.desk.risk.handlers import at_risk, blast_radius, explain_finding
from interlock.core.desk.risk.model import AtRisk, BlastRadius, Filter
from interlock.core.desk.risk.records import Finding
from interlock.core.desk.slo.handlers import load_slos, put_slos, standing
from interlock.core.desk.slo.prometheus import prometheus_rules
from interlock.core.desk.slo.views import StandingView, standing_view
from interlock.core.kernel.clock import HOUR, parse_rfc3339, rfc3339
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.ids import REQUEST
from interlock.core.payments.handlers import load_payment
from interlock.entrypoints.cli.options import Data, Json, err, fail, out
from interlock.entrypoints.cli.replays import replay
from interlock.entrypoints.cli.sign_in import issuer, issuer_secret
from interlock.entrypoints.cli.stored import ACTOR, request_of, with_stored
from interlock.entrypoints.effects import watch_of
from interlock.entrypoints.reproduction import reproduce as told_again

audit = typer.Typer(no_args_is_help=True, help="The audit trail.")
slo = typer.Typer(no_args_is_help=True, help="Objectives, their budgets and the rules that alert on them.")
operators = typer.Typer(no_args_is_help=True, help="People who may sign in to the console.")
desk = typer.Typer(no_args_is_help=True, help="What the desk sees: search, risk, blast radius; replays.")
desk.add_typer(replay, name="replay")


@audit.command("verify")
def verify_audit(data: Data = None, as_json: Json = False) -> None:
    """Read the whole chain of audit records and hold it against the records; status 1 where it does not hold."""

    async def work(platform: Platform) -> Verified:
        return await verify(platform.storage.store)

    found = with_stored(data, work)
    if as_json:
        out.print_json(
            data={"links": found.links, "digest": found.digest, "breaks": [b._asdict() for b in found.breaks]}
        )
    else:
        out.print(f"{found.links} links, the last digest is {found.digest}")
        for broken in found.breaks:
            err.print(f"link {broken.number}: {broken.why} {broken.record}", markup=False)
    if found.breaks:
        raise typer.Exit(1)


@slo.command("put")
def put(file: Path, data: Data = None) -> None:
    """Use the objectives of an OpenSLO file from now on. A file with a mistake is refused, and the old one stays."""
    text = _text(file)

    async def work(platform: Platform) -> int | tuple[str, ...]:
        try:
            return (await put_slos(platform.desk.objectives, text, ACTOR)).version
        except Invalid as error:
            return tuple(fault.detail for fault in error.faults)

    made = with_stored(data, work)
    if isinstance(made, tuple):
        fail("nothing was changed:\n" + "\n".join(made))
    out.print(f"version {made} is in use")


@slo.command("list")
def list_slos(data: Data = None, as_json: Json = False) -> None:
    """How each objective stands."""

    async def work(platform: Platform) -> list[StandingView]:
        return [
            standing_view(await standing(platform.desk.objectives, one))
            for one in await load_slos(platform.desk.objectives)
        ]

    views = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(views).decode())
        return
    table = Table("objective", "target", "reached", "good", "total", "budget left", "firing", box=None)
    for one in views:
        firing = ", ".join(rule.rule for rule in one.firing)
        table.add_row(one.slo, one.target, one.reached or "", str(one.good), str(one.total), one.left_percent, firing)
    out.print(table)


@slo.command("rules")
def rules(
    runbooks: Annotated[
        str, typer.Option(help="Where runbooks stand: alerts link below it.")
    ] = "http://127.0.0.1:8080/console",
    data: Data = None,
) -> None:
    """Prometheus rules of the objectives in use."""

    async def work(platform: Platform) -> str:
        return prometheus_rules(await load_slos(platform.desk.objectives), runbooks)

    typer.echo(with_stored(data, work), nl=False)


@operators.command("add")
def add(
    name: str,
    role: Annotated[Role, typer.Option(help="What they may.")] = Role.VIEWER,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="12 characters at least.")] = "",
    data: Data = None,
) -> None:
    """Add somebody, or give them a new role and password; their sessions end."""

    async def work(platform: Platform) -> None:
        await add_operator(
            platform.desk.operators, name=name, role=role, password=password, actor=ACTOR, replace_existing=True
        )

    with_stored(data, work)
    out.print(f"{name} may sign in as {role}", markup=False)


@operators.command("disable")
def disable(name: str, data: Data = None) -> None:
    """Shut somebody out."""

    async def work(platform: Platform) -> None:
        await disable_operator(platform.desk.operators, name=name, actor=ACTOR)

    with_stored(data, work)
    out.print(f"{name} may not sign in any more", markup=False)


@operators.command("list")
def list_people(data: Data = None, as_json: Json = False) -> None:
    """Who may sign in."""

    async def work(platform: Platform) -> list[dict[str, Any]]:
        found = await list_operators(platform.storage.store)
        return [{"name": one.name, "role": one.role, "disabled": one.disabled_at is not None} for one in found]

    found = with_stored(data, work)
    if as_json:
        out.print_json(data=found)
        return
    table = Table("name", "role", "disabled", box=None)
    for one in found:
        table.add_row(one["name"], one["role"], "yes" if one["disabled"] else "")
    out.print(table)


operators.command("issuer-secret")(issuer_secret)
operators.command("issuer")(issuer)


@desk.command("search")
def find(text: str, data: Data = None, as_json: Json = False) -> None:
    """Payments that this may mean: an id, a reference, a customer, or `4242 19.99 2026-11-27`."""

    async def work(platform: Platform) -> list[Hit]:
        storage, names = platform.storage, [one.name for one in platform.settings.providers]
        return await search(storage.documents, text, providers=names, now=storage.clock.now())

    hits = with_stored(data, work)
    if as_json:
        out.print_json(data=[{"matched": hit.matched, **msgspec.to_builtins(hit.payment)} for hit in hits])
        return
    table = Table("payment", "found by", "status", "amount", "merchant", box=None)
    for hit in hits:
        row = hit.payment
        table.add_row(row.id, hit.matched, row.status, f"{row.amount} {row.currency}", row.merchant)
    out.print(table)


@desk.command("risk")
def risk(data: Data = None, as_json: Json = False) -> None:
    """Payments that need somebody."""

    async def work(platform: Platform) -> AtRisk:
        return await at_risk(platform.storage.documents, platform.webhooks, platform.storage.clock.now())

    found = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(found.risks).decode())
        return
    table = Table("payment", "why", "merchant", "amount", "since", "finding", box=None)
    for one in found.risks:
        since = rfc3339(one.since)
        table.add_row(one.payment, one.kind, one.merchant, f"{one.amount} {one.currency}", since, one.finding)
    out.print(table)
    if not found.complete:
        out.print("[yellow]More wait than are looked at; those of newer payments are missing.[/yellow]")


@desk.command("explain-finding")
def explain_one(
    finding: str,
    reason: Annotated[str, typer.Option(help="Why the provider says otherwise, and what was done.")],
    data: Data = None,
) -> None:
    """Take a provider's contradiction off the list of money at risk, with the reason on record."""

    async def work(platform: Platform) -> Finding:
        command = msgspec.convert({"reason": reason}, ExplainFinding)
        request = request_of(PLATFORM, platform.storage.ids.new(REQUEST))
        return await explain_finding(watch_of(platform.storage), finding, command, request)

    try:
        ended = with_stored(data, work)
    except msgspec.ValidationError as error:
        fail(str(error))
    out.print(f"{ended.about} is explained", markup=False)


@desk.command("causes")
def causes(
    hours: Annotated[int, typer.Option(min=1, max=24, help="Up to now.")] = 3, data: Data = None, as_json: Json = False
) -> None:
    """What explains that fewer authorisations succeed than in the week before."""

    async def work(platform: Platform) -> FindingView:
        until = platform.storage.clock.now()
        since = until - hours * HOUR
        found = await find_causes(platform.desk.tallies, platform.desk.past, since=since, until=until)
        return finding_view(found, since=since, until=until)

    found = with_stored(data, work)
    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
        return
    out.print(f"{found.verdict}: {found.statement}", markup=False)
    for one in found.causes:
        out.print(f"{'or' if one.alternative else '-'} {one.statement}", markup=False)


@desk.command("blast")
def blast(
    since: Annotated[str, typer.Option("--from", help="RFC 3339: payments created from then on.")],
    before: Annotated[str, typer.Option(help="RFC 3339: and before then.")],
    provider: Annotated[str | None, typer.Option(help="Only at this provider.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only of this status.")] = None,
    country: Annotated[str | None, typer.Option(help="Only cards issued in this country.")] = None,
    bin: Annotated[str | None, typer.Option(help="Only cards with this BIN.")] = None,
    version: Annotated[str | None, typer.Option(help="Only tried by this release of the platform.")] = None,
    data: Data = None,
) -> None:
    """What a filter or a time window touched, as JSON: payments, merchants, money; retries counted once."""
    try:
        wanted = Filter(
            parse_rfc3339(since),
            parse_rfc3339(before),
            merchant=merchant,
            provider=provider,
            status=status,
            country=country,
            bin=bin,
            version=version,
        )
    except ValueError as error:
        err.print(f"no time: {error}", markup=False)
        raise typer.Exit(2) from None

    async def work(platform: Platform) -> BlastRadius:
        return await blast_radius(platform.storage.documents, wanted)

    out.print_json(msgspec.json.encode(with_stored(data, work)).decode())


@desk.command("bundle")
def bundle(
    payment_id: str, tenant: Annotated[str, typer.Option(help="Whose payment.")] = "ten_local", data: Data = None
) -> None:
    """A payment as a reproduction, without anybody's data, for `interlock reproduce`."""

    async def work(platform: Platform) -> bytes:
        held = await load_payment(platform.payments, tenant, payment_id)
        return encode_bundle(bundle_of(held.payment, await platform.storage.store.history(payment_id)))

    typer.echo(with_stored(data, work).decode())


def reproduce(file: Path) -> None:
    """Tell a payment's bundle again to a platform of its own, and say whether it ends where the payment ended."""
    try:
        known = decode_bundle(_text(file).encode())
    except msgspec.MsgspecError as error:
        fail(f"{file} is no reproduction: {error}")
    found = asyncio.run(told_again(known))
    for event, state in found.steps:
        out.print(f"{event:<32} {state}", markup=False)
    different = differences(known.ends, found)
    for name, wanted, there in different:
        err.print(f"{name}: was {wanted}, is {there}", markup=False)
    if different:
        raise typer.Exit(1)
    out.print(f"{known.payment} ends as it did: {found.state}", markup=False)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {file}: {error}")
