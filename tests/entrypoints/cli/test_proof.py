"""The demo's proof can fail: a real run is tampered with in one place at a time, and exactly the right check notices."""

import asyncio
import copy
import shutil
import sqlite3
from hashlib import sha256
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from interlock.config import Settings
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments.states import State
from interlock.entrypoints.cli.demo.command import Run, drive, judge
from interlock.entrypoints.cli.demo.merchant import Answer
from interlock.entrypoints.cli.demo.proof import prove, read_stored
from interlock.entrypoints.cli.demo.stories import RECIPES
from interlock.entrypoints.cli.stored import opened

pytestmark = [pytest.mark.xdist_group("proof"), pytest.mark.timeout(300)]

SETTLED = "everything settled"
LEDGER = "ledger verified"
EACH = "simulator's books equal, payment by payment"
TOTAL = "simulator's books equal, in total"
ONCE = "every operation effected at most once"
LOST = "nothing lost"
LISTED = "lists complete"
DOUBLED = "nothing doubled"
DELIVERED = "every event delivered, in order"
CONTRACT = "no answer outside the contract"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A demo that tells every story once."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    run = Run(folder, len(RECIPES), 0.1, 3, "demo-proof")
    driven = asyncio.run(drive(run, lambda doing, told: None))
    return run, driven


@pytest.fixture
def failing(finished):
    """What fails when `tamper` has been at the evidence (or `folder` is another one)."""
    run, driven = finished

    def check(tamper=lambda evidence: None, folder=None) -> set[str]:
        return asyncio.run(_failing(run._replace(folder=folder or run.folder), driven, tamper))

    return check


async def _failing(run, driven, tamper) -> set[str]:
    async with opened(Settings(data=str(run.folder))) as platform:
        stored = await read_stored(platform, run=run.name)
        hook = SimpleNamespace(
            arrivals=copy.deepcopy(driven.hook.arrivals), forged=[], accepted=driven.hook.accepted, refused=0
        )
        evidence = SimpleNamespace(
            payments=dict(stored.payments),
            books=copy.deepcopy(driven.books),
            told=copy.deepcopy(driven.told),
            hook=hook,
            unsettled=list(driven.unsettled),
            run=run,
        )
        tamper(evidence)
        ours = {one: payment for one, payment in evidence.payments.items() if one in stored.ours or one == "copy"}
        stored = stored._replace(payments=evidence.payments, ours=ours)
        checks = await prove(
            platform, stored, evidence.books, told=evidence.told, hook=hook, unsettled=evidence.unsettled
        )
    return {check.what for check in checks if not check.holds}


def charges(evidence):
    return [row for instance in evidence.books.instances.values() for row in instance.charges]


def captured(evidence):
    """A payment that lives on a charge, that charge, and its attempt."""
    held = {row.attempt_id: row for row in charges(evidence) if row.captured}
    for payment in evidence.payments.values():
        for attempt in payment.attempts:
            if attempt.id in held and not attempt.late and not payment.refunds and not payment.disputes:
                return payment, held[attempt.id], attempt
    raise AssertionError("no story captured anything")


def test_untouched_evidence_proves_everything(finished, failing):
    run, driven = finished
    verdict = asyncio.run(judge(run, driven))
    assert [check for check in verdict.checks if not check.holds] == []
    assert failing() == set()
    assert verdict.summary["payments"] == len(RECIPES)
    for counted in ("unknown_outcomes", "late_approvals", "failovers", "disputes", "refunds", "answers_replayed"):
        assert verdict.summary[counted] > 0, counted
    assert verdict.summary["unknown_outcomes"] == verdict.summary["unknown_outcomes_resolved"]
    assert verdict.summary["late_approvals"] == verdict.summary["late_approvals_reversed"]


def test_platform_that_had_to_be_killed_is_noticed(finished):
    run, driven = finished
    verdict = asyncio.run(judge(run, driven._replace(status=-9)))
    assert [check.what for check in verdict.checks if not check.holds] == ["the platform stopped when asked to"]


@pytest.mark.parametrize("field", ["authorized", "captured", "released", "refunded", "disputed"])
def test_one_unit_more_in_the_books_is_noticed(failing, field):
    def tamper(evidence):
        _, charge, _ = captured(evidence)
        setattr(charge, field, getattr(charge, field) + 1)

    assert EACH in failing(tamper)


@pytest.mark.parametrize("field", ["captured", "refunded", "lost", "disputed"])
def test_one_unit_more_in_the_books_totals_is_noticed(failing, field):
    def tamper(evidence):
        totals = next(iter(evidence.books.instances["simulator"].totals.values()))
        setattr(totals, field, getattr(totals, field) + 1)

    assert failing(tamper) == {TOTAL}


def test_charge_in_another_currency_is_noticed(failing):
    def tamper(evidence):
        captured(evidence)[1].currency = "XXX"

    assert failing(tamper) == {EACH}


def test_payment_the_provider_has_never_heard_of_is_noticed(failing):
    def tamper(evidence):
        payment, charge, _ = captured(evidence)
        for instance in evidence.books.instances.values():
            instance.charges = [row for row in instance.charges if row is not charge]
        evidence.books.operations = [row for row in evidence.books.operations if row.payment_id != payment.id]

    assert failing(tamper) == {EACH, ONCE}


def test_operation_that_took_effect_twice_is_noticed(failing):
    def tamper(evidence):
        next(row for row in evidence.books.operations if row.times_effected).times_effected = 2

    assert failing(tamper) == {ONCE}


@pytest.mark.parametrize(
    ("field", "value"), [("state", "declined"), ("amount", 1), ("currency", "XXX"), ("payment_id", "pay_x")]
)
def test_operation_that_differs_from_its_attempt_is_noticed(failing, field, value):
    def tamper(evidence):
        _, _, attempt = captured(evidence)
        row = next(row for row in evidence.books.operations if row.attempt_id == attempt.id)
        setattr(row, field, value)

    assert failing(tamper) == {ONCE}


def test_operation_nobody_asked_for_is_noticed(failing):
    def tamper(evidence):
        row = copy.deepcopy(next(row for row in evidence.books.operations if row.times_effected))
        row.attempt_id = "att_of_nobody"
        evidence.books.operations.append(row)

    assert failing(tamper) == {ONCE}


def test_second_charge_for_a_payment_is_noticed(failing):
    def tamper(evidence):
        _, charge, _ = captured(evidence)
        again = copy.deepcopy(charge)
        again.charge, again.attempt_id = "sch_again", "att_again"
        evidence.books.instances["simulator_b"].charges.append(again)

    assert failing(tamper) == {DOUBLED}


def test_second_charge_that_was_given_back_is_no_double(failing):
    def tamper(evidence):
        _, charge, _ = captured(evidence)
        again = copy.deepcopy(charge)
        again.charge, again.attempt_id, again.refunded = "sch_again", "att_again", again.captured
        again.released = again.authorized - again.captured
        evidence.books.instances["simulator_b"].charges.append(again)

    assert failing(tamper) == set()


def test_charge_of_nobody_is_noticed(failing):
    def tamper(evidence):
        _, charge, _ = captured(evidence)
        stray = copy.deepcopy(charge)
        stray.charge, stray.attempt_id, stray.payment_id = "sch_stray", "att_stray", "pay_of_nobody"
        evidence.books.instances["simulator_b"].charges.append(stray)

    assert failing(tamper) == {DOUBLED}


def test_late_approval_that_was_not_given_back_is_noticed(failing):
    def tamper(evidence):
        late = {one.id for payment in evidence.payments.values() for one in payment.attempts if one.late}
        row = next(row for row in charges(evidence) if row.attempt_id in late)
        row.refunded = row.released = 0

    assert failing(tamper) == {DOUBLED}


def test_two_payments_for_one_key_are_noticed(failing):
    def tamper(evidence):
        payment, _, _ = captured(evidence)
        evidence.payments["copy"] = replace(payment, id="copy", attempts=(), amount_authorized=0, amount_captured=0)

    found = failing(tamper)
    assert DOUBLED in found


def test_two_approved_authorisations_are_noticed(failing):
    def tamper(evidence):
        payment, _, attempt = captured(evidence)
        twice = replace(attempt, id="att_twice")
        evidence.payments[payment.id] = replace(payment, attempts=(*payment.attempts, twice))

    assert failing(tamper) == {DOUBLED, ONCE}


def test_acknowledged_payment_that_is_not_stored_is_noticed(failing):
    def tamper(evidence):
        payment, _, _ = captured(evidence)
        del evidence.payments[payment.id]

    assert LOST in failing(tamper)


def test_answer_that_no_event_says_is_noticed(failing):
    def tamper(evidence):
        key, answer = next(iter(evidence.told.acknowledged.items()))
        evidence.told.acknowledged[key] = Answer(answer.status, answer.body + b" ", False)

    assert failing(tamper) == {LOST}


def test_two_answers_to_one_key_are_noticed(finished, failing):
    def tamper(evidence):
        key, answer = next(iter(evidence.told.acknowledged.items()))
        evidence.told.note(key, "/v1/payments", answer._replace(body=answer.body + b" "))

    assert failing(tamper) == {LOST}


def test_acknowledged_capture_or_refund_that_went_missing_is_noticed(failing):
    def without_captures(evidence):
        answers = [answer.content for answer in evidence.told.acknowledged.values()]
        payment = evidence.payments[next(answer["id"] for answer in answers if answer.get("captures"))]
        evidence.payments[payment.id] = replace(payment, captures=())

    def without_refunds(evidence):
        payment = next(one for one in evidence.payments.values() if one.refunds)
        evidence.payments[payment.id] = replace(payment, refunds=())

    assert failing(without_captures) == {LOST}
    assert LOST in failing(without_refunds)


def test_answer_outside_the_contract_is_noticed(failing):
    def tamper(evidence):
        evidence.told.note("k", "/v1/payments", Answer(500, b'{"code":"internal"}', False))

    assert failing(tamper) == {CONTRACT}


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.CAPTURING, State.PENDING])
def test_payment_that_is_still_under_way_is_noticed(failing, state):
    def tamper(evidence):
        payment, _, _ = captured(evidence)
        evidence.payments[payment.id] = replace(payment, state=state)

    assert failing(tamper) == {SETTLED}


def test_attempt_that_is_still_unknown_is_noticed(failing):
    def tamper(evidence):
        payment, _, _ = captured(evidence)
        refund = replace(payment.attempts[0], id="att_new", operation=Action.REFUND, outcome=Outcome.UNKNOWN)
        evidence.payments[payment.id] = replace(payment, attempts=(*payment.attempts, refund))

    assert failing(tamper) == {SETTLED}


def test_what_did_not_settle_in_time_is_noticed(failing):
    assert failing(lambda evidence: evidence.unsettled.append("a queue")) == {SETTLED}


def test_event_that_never_came_is_noticed(failing):
    assert failing(lambda evidence: next(iter(evidence.hook.arrivals.values())).pop()) == {DELIVERED}


def test_event_with_another_body_is_noticed(failing):
    def tamper(evidence):
        arrivals = next(iter(evidence.hook.arrivals.values()))
        arrivals[0] = arrivals[0]._replace(digest=sha256(b"other").digest())

    assert failing(tamper) == {DELIVERED}


def test_events_out_of_order_are_noticed(failing):
    assert failing(lambda evidence: next(iter(evidence.hook.arrivals.values())).reverse()) == {DELIVERED}


def test_forged_webhook_is_noticed(failing):
    assert failing(lambda evidence: evidence.hook.forged.append("msg_1")) == {DELIVERED}


@pytest.mark.parametrize(
    ("tampering", "noticed"),
    [
        ("DELETE FROM items WHERE id = (SELECT max(id) FROM items WHERE partition LIKE '%/jrn/%')", {LEDGER}),
        ("DELETE FROM items WHERE id = (SELECT max(id) FROM items WHERE partition LIKE '%/jrn_counted/%')", {LEDGER}),
        (
            'UPDATE items SET value = CAST(replace(CAST(value AS TEXT), \'"state":"succeeded"\', \'"state":"failed"\')'
            " AS BLOB) WHERE sort = 'payment'",
            {LEDGER, EACH, TOTAL},  # refunds are turned, too
        ),
        ("DELETE FROM documents_payments WHERE key = (SELECT max(key) FROM documents_payments)", {LISTED}),
        ("INSERT INTO queue_dead_letters VALUES ('webhooks', 'm1', 25, 1, 1, x'00')", {SETTLED}),
    ],
)
def test_tampering_with_stored_rows_is_noticed(finished, failing, tmp_path, tampering, noticed):
    folder = tmp_path / "data"
    shutil.copytree(finished[0].folder, folder)
    with sqlite3.connect(folder / "interlock.db") as connection:
        connection.execute(tampering)
    connection.close()
    assert failing(folder=folder) == noticed
