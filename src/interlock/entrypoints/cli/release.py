"""`interlock release check`, `dr restore-check` and `dr rebuild-read-models`: before and after something big."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from typing import Annotated, NamedTuple

import msgspec
import typer

from interlock.bootstrap import Platform, queue_names
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.feed import START
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.kernel.queue import QueueDepth
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.ledger.verification import Report, verify
from interlock.core.payments.commands import CancelPayment, CreatePayment
from interlock.core.payments.handlers import cancel_payment, create_payment
from interlock.core.payments.verification import payment_check
from interlock.entrypoints.cli.options import Data, Json, err, out
from interlock.entrypoints.cli.stored import with_stored
from interlock.entrypoints.effects import project_into

release = typer.Typer(no_args_is_help=True, help="Whether a release may go on.")
recovery = typer.Typer(no_args_is_help=True, help="Whether a backup is worth something, and what follows a disaster.")
TENANT = "ten_release_check"
PROBE = Key("platform/release", "probe")
REBUILT_AT_ONCE = 500
AMOUNT = 100
"""Minor units of the synthetic payment, which is authorised and cancelled: nobody pays."""


class Check(NamedTuple):
    what: str
    ok: bool
    advice: str = ""


@release.command("check")
def check_release(
    data: Data = None,
    pay: Annotated[
        list[str] | None,
        typer.Option(
            "--pay", help="PROVIDER=TOKEN: authorise and cancel a synthetic payment there, e.g. stripe=pm_card_visa."
        ),
    ] = None,
    echo: Annotated[str | None, typer.Option(help="URL that must take a webhook.")] = None,
    as_json: Json = False,
) -> None:
    """Storage, ledger, queues, and with --pay and --echo providers and webhooks. Status 1 if anything is wrong."""
    wanted = [one.partition("=")[::2] for one in pay or ()]
    if any(not name or not token for name, token in wanted):
        err.print("--pay is PROVIDER=TOKEN", markup=False)
        raise typer.Exit(2)

    async def work(platform: Platform) -> list[Check]:
        checks = [
            await _tried("the storage commits", _commits(platform), "look at the store's alarms"),
            await _tried("the ledger is sound", _sound(platform), "interlock ledger verify"),
        ]
        for one in queue_names(platform):
            checks.append(
                await _tried(f"no dead letters in {one}", _alive(platform, one), f"interlock queue list {one}")
            )
        for name, token in wanted:
            what = f"a payment at {name} is authorised and cancelled"
            checks.append(await _tried(what, _paid(platform, name, token), f"look for payments of {TENANT}"))
        if echo is not None:
            checks.append(await _tried("a webhook is taken", _echoed(platform, echo), "look at the endpoint"))
        return checks

    _show(with_stored(data, work, calling=bool(wanted)), as_json=as_json)


@recovery.command("restore-check")
def check_restore(
    data: Data = None,
    payments_min: Annotated[int, typer.Option(help="So many payments must be there, at least.")] = 1,
    as_json: Json = False,
) -> None:
    """Prove a restored store: every event read again, journals, balances and payments held against each other."""

    async def work(platform: Platform) -> list[Check]:
        report = await _report(platform)
        agree = f"{report.events} events, {report.journals} journals and {report.payments} payments agree"
        enough = f"at least {payments_min} payments are there"
        return [
            Check(agree, report.sound, "interlock ledger verify"),
            Check(enough, report.payments >= payments_min, "the backup is empty, or of something else"),
            Check("balances have counted every journal", report.behind == 0, "run the worker until they have"),
        ]

    _show(with_stored(data, work), as_json=as_json)


@recovery.command("rebuild-read-models")
def rebuild_read_models(
    after: Annotated[
        str, typer.Option(help="Go on behind this position, which an earlier run that failed named.")
    ] = START,
    data: Data = None,
) -> None:
    """Fill lists and searches from the histories, which know every event. Safe to repeat, also while the platform runs.

    Nothing else follows from an event that is read here: no webhook is sent, no balance moved.
    """

    async def work(platform: Platform) -> int:
        storage, position, count = platform.storage, after, 0
        try:
            while records := await storage.histories.read(after=position, limit=REBUILT_AT_ONCE):
                await project_into(storage.documents, [record.event for record in records])
                position, count = records[-1].position, count + len(records)
        except InterlockError:
            err.print(f"{count} events were read; go on with --after '{position}'", markup=False)
            raise
        return count

    out.print(f"{with_stored(data, work)} events are in the read models")


async def _tried(what: str, work: Awaitable[bool], advice: str) -> Check:
    try:
        return Check(what, await work, advice)
    except InterlockError as error:
        return Check(what, False, f"{error.reason}: {error.detail or advice}")


async def _commits(platform: Platform) -> bool:
    store = platform.storage.store
    item = await store.get(PROBE)
    await store.commit([Put(PROBE, b"", item.version if item else ABSENT)])
    return True


async def _report(platform: Platform) -> Report:
    storage = platform.storage
    return await verify(storage.store, storage.histories, check_payment=payment_check(storage.store))


async def _sound(platform: Platform) -> bool:
    return (await _report(platform)).sound


async def _alive(platform: Platform, queue: str) -> bool:
    depth: QueueDepth = await platform.storage.queue.depth(queue)
    return depth.dead == 0


async def _paid(platform: Platform, provider: str, token: str) -> bool:
    """Through the platform's own handlers, so with its record, its attempt and its events."""
    name = secrets.token_hex(8)
    wish = {
        "amount": AMOUNT,
        "currency": "EUR",
        "payment_method": {"type": "card", "token": token},
        "capture_method": "manual",
        "routing": {"provider": provider},
        "reference": f"release-check-{name}",
    }
    made = await create_payment(
        platform.payments, msgspec.convert(wish, CreatePayment), _request(platform, name, "/v1/payments")
    )
    payment = msgspec.json.decode(made.body)
    if payment.get("status") != "requires_capture":
        return False
    path = f"/v1/payments/{payment['id']}/cancel"
    ended = await cancel_payment(platform.payments, payment["id"], CancelPayment(), _request(platform, name, path))
    return bool(msgspec.json.decode(ended.body).get("status") == "canceled")


async def _echoed(platform: Platform, url: str) -> bool:
    sent = await platform.webhooks.sender.send(
        url, {"content-type": "application/json"}, b'{"type":"release.check"}', timeout_s=10.0
    )
    return sent.status is not None and 200 <= sent.status < 300


def _request(platform: Platform, name: str, path: str) -> Request:
    key = idempotency_key(TENANT, "POST", path, name)
    return Request(TENANT, key, fingerprint(name.encode()), "release_check", platform.storage.ids.new("req"))


def _show(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        out.print_json(data=[check._asdict() for check in checks])
    else:
        for check in checks:
            mark = "ok   " if check.ok else "WRONG"
            out.print(f"{mark} {check.what}" + ("" if check.ok else f": {check.advice}"), markup=False)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
