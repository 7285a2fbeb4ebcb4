"""Stored payments made from a mould are such as the platform itself would have left."""

import io
import sqlite3
import sys

import pytest

from bench import machine, persisted, provider
from bench.contestants.interlock import Interlock
from bench.course import Course
from bench.histories.filling import fill
from bench.histories.template import TABLES, Numbers, Template
from bench.load import amount_of
from bench.persisted import Answered
from interlock.bootstrap import DATABASE_FILE, open_storage
from interlock.config import Settings
from interlock.core.kernel.ids import is_id
from interlock.core.ledger.verification import verify
from interlock.core.payments.verification import payment_check
from interlock.entrypoints.local import TENANT

FILLED = 300


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("histories")
    simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
    yield folder, simulator
    simulator.stop()


@pytest.fixture(scope="module")
def template(house):
    """Of the one payment in the folder."""
    folder, simulator = house
    contestant = Interlock(folder / "data", simulator, cores=machine.BOTH)
    Course(simulator).lap(contestant, seconds=0.05, warmup_s=0.0, connections=1, requests_max=1)
    contestant.stop()
    with sqlite3.connect(folder / "data" / DATABASE_FILE) as database:
        made = Template(database)
    database.close()
    return made


@pytest.fixture(scope="module")
def filled(house, template):
    folder, _ = house
    fill(folder / "data", FILLED)
    return folder / "data"


def ids_in(rows):
    words = [
        word
        for table in rows.values()
        for row in table
        for cell in row
        if isinstance(cell, str | bytes)
        for word in (cell.decode() if isinstance(cell, bytes) else cell).replace("/", '"').replace(":", '"').split('"')
    ]
    kinds = ("pay", "att", "pm", "cap", "req", "evt", "jrn", "sch", "sop")
    return {word for word in words if any(is_id(word, kind) for kind in kinds)}


def test_two_payments_from_one_mould_share_no_id_and_have_rows_in_every_table(template):
    first = template.payment(Numbers(1, 1_795_000_000_000, 4_321))
    second = template.payment(Numbers(2, 1_795_000_000_500, 1_234))
    assert set(first) == set(TABLES)
    assert ids_in(first) and len(ids_in(first)) == len(ids_in(second))
    assert not ids_in(first) & ids_in(second)
    assert {table: len(rows) for table, rows in first.items()} == {table: len(rows) for table, rows in second.items()}


def test_nothing_of_the_mould_shines_through(template):
    made = repr(template.payment(Numbers(77, 1_700_000_000_000, 4_321)))
    for slot in template.known.slots:
        assert slot.decode() not in made
    for text in (str(template.known.at), template.known.texts["reference"].decode(), '"amount":1', "T%"):
        assert text not in made
    assert '"amount":4321' in made and "2023-11-14T22:13:20.000Z" in made and "order-0000000077" in made


async def test_filled_folder_passes_verification_of_everything(filled):
    storage = open_storage(Settings(data=str(filled)), log=io.BytesIO())
    try:
        report = await verify(storage.store, storage.feed, check_payment=payment_check(storage.store))
    finally:
        await storage.close()
    assert (report.payments, report.journals, report.behind, report.findings) == (FILLED + 1, FILLED + 1, 0, ())


def test_filled_folder_says_in_rows_what_was_filled_in(filled):
    stored = persisted.in_interlock(filled)
    expected = Answered(FILLED + 1, sum(amount_of(number) for number in range(FILLED)) + amount_of(1))
    assert persisted.disagreements("filled", expected, stored, booked=expected.amount) == []


def test_platform_goes_on_from_a_filled_folder(filled, house):
    _, simulator = house
    since = persisted.newest_payment(filled)
    contestant = Interlock(filled, simulator, cores=machine.BOTH)
    course = Course(simulator)
    try:
        course.lap(contestant, seconds=0.2, warmup_s=0.0, connections=4)
    finally:
        contestant.stop()
    answered = course.answered["interlock"]
    stored = persisted.in_interlock(filled, since=since)
    assert persisted.disagreements("interlock", answered, stored, booked=course.booked["interlock"]) == []
    with sqlite3.connect(filled / DATABASE_FILE) as database:
        (listed,) = database.execute("SELECT count(*) FROM documents_payments WHERE tenant = ?", (TENANT,)).fetchone()
    database.close()
    assert listed == FILLED + 1 + answered.payments
