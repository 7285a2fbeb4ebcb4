"""The check that a payment answered is a payment stored, seen to fail for everything it looks at."""

import shutil
import sqlite3
import sys

import pytest

from bench import machine, provider
from bench.contestants.interlock import Interlock
from bench.course import Course
from bench.persisted import Answered, Stored, disagreements, in_interlock, newest_payment
from interlock.bootstrap import DATABASE_FILE

ANSWERED = Answered(payments=2, amount=3_000)
STORED = Stored(2, 2, 3_000, 2, 0, 3_000, 3_000, 2, 2, 2, 2)


def test_rows_that_say_what_the_answers_said_agree():
    assert disagreements("one", ANSWERED, STORED, booked=3_000) == []


@pytest.mark.parametrize("field", Stored._fields)
@pytest.mark.parametrize("off", (-1, 1))
def test_one_number_that_is_off_is_named(field, off):
    stored = STORED._replace(**{field: getattr(STORED, field) + off})
    (wrong,) = disagreements("one", ANSWERED, stored, booked=3_000)
    assert wrong.startswith(f"one: {field} {getattr(STORED, field) + off}, ")


def test_provider_that_booked_another_sum_is_named():
    (wrong,) = disagreements("one", ANSWERED, STORED, booked=2_999)
    assert "books say 2999" in wrong


def test_run_without_a_payment_proves_nothing():
    assert disagreements("one", Answered(), Stored(*[0] * len(Stored._fields)), booked=0) == [
        "one: not one payment was made"
    ]


# -- our platform's own rows -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A folder after a short race, what was answered, and what the provider booked."""
    folder = tmp_path_factory.mktemp("raced")
    simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
    try:
        contestant = Interlock(folder / "data", simulator, cores=machine.BOTH)
        try:
            course = Course(simulator)
            course.lap(contestant, seconds=0.3, warmup_s=0.1, connections=4)
        finally:
            contestant.stop()
    finally:
        simulator.stop()
    assert course.complaints == []
    return contestant.folder, course.answered["interlock"], course.booked["interlock"]


def test_answers_rows_and_books_of_a_race_agree(raced):
    folder, answered, booked = raced
    assert answered.payments > 4
    assert disagreements("interlock", answered, in_interlock(folder), booked=booked) == []


def test_payments_before_a_given_one_are_left_out(raced):
    folder, _, _ = raced
    newest = newest_payment(folder)
    assert in_interlock(folder, since=newest).payments == 0
    assert in_interlock(folder, since="pay_0").payments == in_interlock(folder).payments


TAMPERED = {
    "payments": "DELETE FROM items WHERE id = (SELECT min(id) FROM items WHERE partition LIKE '%/pay/%')",
    "captured": """UPDATE items SET value = replace(value, '"amount_captured":', '"amount_captured":1')
                   WHERE id = (SELECT min(id) FROM items WHERE partition LIKE '%/pay/%')""",
    "journals": "DELETE FROM items WHERE id = (SELECT min(id) FROM items WHERE partition LIKE '%/jrn/%')",
    "journals_unbalanced": """UPDATE items SET value = replace(value, '"merchant_payable",-', '"merchant_payable",-1')
                              WHERE id = (SELECT min(id) FROM items WHERE partition LIKE '%/jrn/%')""",
    "idempotency_records": "DELETE FROM items WHERE id = (SELECT min(id) FROM items WHERE partition LIKE '%/idem/%')",
    "events": "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events WHERE aggregate LIKE 'pay_%')",
}
"""What must be named -> what was done to the file."""


@pytest.mark.parametrize("field", TAMPERED)
def test_row_that_was_taken_away_or_changed_is_noticed(raced, field, tmp_path):
    folder, answered, booked = raced
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with sqlite3.connect(copy / DATABASE_FILE) as database:
        assert database.execute(TAMPERED[field]).rowcount == 1
    database.close()
    named = [wrong.split()[1] for wrong in disagreements("interlock", answered, in_interlock(copy), booked=booked)]
    assert field in named
