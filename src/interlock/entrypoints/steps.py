"""The steps of the workflows, by name: what a definition's tasks do, on every runner.

A step is told its input and gives its answer as JSON. It may be run more than once for one task, so each is idempotent by the
execution's name. Its errors have four names, which the definitions' Retry and Catch know: Invalid, Rejected, Unavailable
and OutcomeUnknown; any other is a defect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta

from interlock.core.desk.risk.looking import prove
from interlock.core.desk.risk.ports import Watch
from interlock.core.kernel.alarms import Alarm, Alarms, Severity
from interlock.core.kernel.errors import Fault, InterlockError, Invalid, OutcomeUnknown, Rejected, Unavailable
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.ids import PaymentId
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.kernel.workflows import Json, RunStep, Workflows
from interlock.core.ledger.archive import archive_day
from interlock.core.payments import bulk_refunds
from interlock.core.payments.bulk_refunds import ITEMS_MAX, AskForApproval, Closed, Item, Stage
from interlock.core.payments.commands import Amount, Text
from interlock.core.payments.ports import Payments
from interlock.core.payments.recovering import Captured, Certainty, capture_in_time, look_into
from interlock.core.reconciliation import handlers as reconciliation
from interlock.core.reconciliation.commands import InspectFile, TakeFile
from interlock.core.reconciliation.ports import Reconciliation

FINDINGS_MAX = 20
"""Named in a workflow's report; the archive is no longer either. `interlock ledger verify` names more."""
Execution = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,80}\Z")]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}\Z")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class Storage(Protocol):
    """What steps use of the platform's storage."""

    @property
    def store(self) -> Store: ...
    @property
    def histories(self) -> Feed: ...
    @property
    def telemetry(self) -> Telemetry: ...
    @property
    def alarms(self) -> Alarms | None: ...


class Means(Protocol):
    """What steps use of the platform."""

    @property
    def storage(self) -> Storage: ...
    @property
    def payments(self) -> Payments: ...
    @property
    def reconciliation(self) -> Reconciliation: ...
    @property
    def workflows(self) -> Workflows: ...


Step = Callable[[Means, Json], Awaitable[Json]]


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution: Execution


class OfPayment(_Given, frozen=True, kw_only=True):
    tenant: Text
    payment: PaymentId


class CaptureLater(OfPayment, frozen=True, kw_only=True):
    amount: Amount | None = None


class Attention(_Given, frozen=True, kw_only=True):
    workflow: Word
    about: Annotated[str, Meta(max_length=1_200)]
    why: Annotated[str, Meta(max_length=256)]


class RequestApproval(AskForApproval, frozen=True, kw_only=True):
    execution: Execution


class RefundItem(_Given, frozen=True, kw_only=True):
    tenant: Text
    item: Annotated[int, Meta(ge=0, lt=ITEMS_MAX)]
    refund: Item


class CloseRequest(_Given, frozen=True, kw_only=True):
    tenant: Text
    outcome: Stage
    decided_by: Annotated[str, Meta(max_length=255)] | None
    results: tuple[dict[str, Any], ...]


class OfTenant(_Given, frozen=True, kw_only=True):
    tenant: Word


class ArchiveDay(OfTenant, frozen=True, kw_only=True):
    day: Day
    report: dict[str, Any]


class Started(msgspec.Struct, frozen=True):
    started: str


async def look_up_payment(m: Means, given: OfPayment) -> Certainty:
    return await look_into(m.payments, tenant=given.tenant, payment_id=given.payment)


async def capture_payment(m: Means, given: CaptureLater) -> Captured:
    return await capture_in_time(
        m.payments,
        execution=given.execution,
        tenant=given.tenant,
        payment_id=given.payment,
        amount=given.amount,
    )


async def start_recovery(m: Means, given: OfPayment) -> Started:
    """One recovery for each execution that asks for it."""
    input = {"tenant": given.tenant, "payment": given.payment}
    return Started(await m.workflows.start("recover_payment", input, id=given.execution))


async def raise_alarm(m: Means, given: Attention) -> None:
    """Told twice if the task is: people know it by the execution."""
    name = f"{given.workflow}/{given.execution}"
    m.storage.telemetry.error("workflow.needs_attention", name=name, aggregate=given.about, reason=given.why)
    if m.storage.alarms is not None:
        what = f"{name}: {given.why} ({given.about})"
        named = {"workflow": given.workflow, "execution": given.execution}
        await m.storage.alarms.raise_alarm(Alarm("workflow-needs-attention", Severity.WARNING, what, named))


async def ask_for_approval(m: Means, given: RequestApproval) -> None:
    asked = AskForApproval(tenant=given.tenant, requested_by=given.requested_by, items=given.items, token=given.token)
    await bulk_refunds.ask_for_approval(m.payments, asked, execution=given.execution)


async def refund_item(m: Means, given: RefundItem) -> Json:
    return await bulk_refunds.refund_item(
        m.payments, given.refund, tenant=given.tenant, execution=given.execution, place=given.item
    )


async def close_bulk_refund(m: Means, given: CloseRequest) -> Closed:
    return await bulk_refunds.close_bulk_refund(
        m.payments,
        tenant=given.tenant,
        execution=given.execution,
        outcome=given.outcome,
        decided_by=given.decided_by,
        results=given.results,
    )


async def verify_ledger(m: Means, given: OfTenant) -> Json:
    """The whole ledger is read, and every finding counts; those of other tenants are not named. The desk keeps what it finds."""
    watch = Watch(m.storage.store, m.payments.clock, m.payments.ids, m.storage.telemetry)
    report = await prove(watch, m.storage.histories)
    own = [one._asdict() for one in report.findings if one.tenant == given.tenant]
    return {
        "sound": report.sound,
        "events": report.events,
        "journals": report.journals,
        "payments": report.payments,
        "behind": report.behind,
        "findings": own[:FINDINGS_MAX],
        "findings_in_all": len(report.findings) + report.more,
    }


async def archive_ledger(m: Means, given: ArchiveDay) -> Json:
    blobs = m.reconciliation.blobs
    try:
        files = await archive_day(
            m.storage.histories,
            blobs,
            tenant=given.tenant,
            day=given.day,
            name=given.execution,
            report=given.report,
        )
    except ValueError as error:
        raise Rejected(f"the journals cannot be exported: {error}") from error
    return {"files": files}


def _step(given_as: Any, work: Callable[[Means, Any], Awaitable[Any]]) -> Step:
    async def run(means: Means, given: Json) -> Json:
        try:
            answer = await work(means, _given(given_as, given))
        except InterlockError as error:
            raise _named(error) from error
        return msgspec.to_builtins(answer)

    return run


STEPS: Mapping[str, Step] = {
    "look_up_payment": _step(OfPayment, look_up_payment),
    "capture_payment": _step(CaptureLater, capture_payment),
    "start_recovery": _step(OfPayment, start_recovery),
    "raise_alarm": _step(Attention, raise_alarm),
    "ask_for_approval": _step(RequestApproval, ask_for_approval),
    "refund_item": _step(RefundItem, refund_item),
    "close_bulk_refund": _step(CloseRequest, close_bulk_refund),
    "verify_ledger": _step(OfTenant, verify_ledger),
    "archive_ledger": _step(ArchiveDay, archive_ledger),
    "inspect_file": _step(InspectFile, lambda m, given: reconciliation.inspect_file(m.reconciliation, given)),
    "keep_file": _step(TakeFile, lambda m, given: reconciliation.keep_file(m.reconciliation, given)),
    "quarantine_file": _step(TakeFile, lambda m, given: reconciliation.quarantine_file(m.reconciliation, given)),
    "announce_file": _step(TakeFile, lambda m, given: reconciliation.announce_file(m.reconciliation, given)),
}


def runs_steps_of(means: Means) -> RunStep:
    """For a runner whose steps run in this process."""

    async def run(step: str, given: Json) -> Json:
        return await STEPS[step](means, given)

    return run


Given = TypeVar("Given")


def _given(given_as: type[Given], value: Json) -> Given:
    try:
        return msgspec.convert(value, given_as)
    except msgspec.ValidationError as error:
        raise Invalid(faults=(Fault("", "invalid", str(error)),)) from error


def _named(error: InterlockError) -> InterlockError:
    """One of the four, whatever class it is below them: definitions know errors by their class alone."""
    for family in (Invalid, Rejected, Unavailable, OutcomeUnknown):
        if isinstance(error, family):
            return family(error.detail, code=error.reason)
    return error
