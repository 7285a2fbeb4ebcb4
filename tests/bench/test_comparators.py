"""What runs beside us does the same work: its answers, replays and refusals, and the rows it leaves."""

import http.client
import json
import sys
import threading

import pytest

from bench import machine, provider
from bench.comparators.postgres import Postgres
from bench.contestants.comparator import APPS, Comparator
from bench.persisted import Stored, in_postgres
from tests.counterparts.paths import require

BODY = {
    "amount": 1999,
    "currency": "EUR",
    "payment_method": {"type": "card", "token": "tok_approve"},
    "reference": "order-17",
    "metadata": {"basket": "7781"},
}
NOTHING = Stored(*[0] * len(Stored._fields))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A provider and a PostgreSQL."""
    require("comparators")
    folder = tmp_path_factory.mktemp("comparators")
    postgres = Postgres(cores=machine.BOTH)
    try:
        simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
        try:
            yield folder, postgres, simulator
        finally:
            simulator.stop()
    finally:
        postgres.stop()


@pytest.fixture(params=APPS)
def comparator(request, house):
    folder, postgres, simulator = house
    simulator.forget()
    one = Comparator(request.param, folder, postgres, simulator, workers=1, cores=machine.BOTH)
    yield one
    one.stop()


def ask(one, body, *, key="key-1", token=None):
    """Status, headers, decoded body."""
    connection = http.client.HTTPConnection("127.0.0.1", one.ports[0], timeout=30)
    headers = {"authorization": f"Bearer {one.token() if token is None else token}", "content-type": "application/json"}
    if key is not None:
        headers["idempotency-key"] = key
    connection.request("POST", "/v1/payments", json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(content)


def stored(one):
    return in_postgres(one.postgres, one.database)


def test_payment_is_answered_whole_and_leaves_every_row(comparator, house):
    status, _, payment = ask(comparator, BODY)
    assert status == 201
    shown = {"status": "succeeded", "amount": 1999, "amount_captured": 1999, "currency": "EUR", "reference": "order-17"}
    assert {name: payment[name] for name in shown} == shown
    assert payment["attempts"][0]["outcome"] == "approved"
    assert stored(comparator) == Stored(1, 1, 1999, 1, 0, 1999, 1999, 1, 1, 1, 1)
    assert house[2].books().captured == 1999


def test_same_request_again_gets_the_stored_answer_and_moves_nothing(comparator, house):
    _, _, first = ask(comparator, BODY)
    status, headers, again = ask(comparator, BODY)
    assert (status, headers["idempotency-replayed"], again) == (201, "true", first)
    assert stored(comparator).payments == 1
    assert house[2].books().captured == 1999


def test_same_key_with_another_body_is_refused(comparator):
    ask(comparator, BODY)
    status, _, problem = ask(comparator, BODY | {"amount": 2000})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert stored(comparator).captured == 1999


def test_same_key_while_the_first_works_is_refused(comparator, house):
    house[2].behave(provider.INSTANT | {"latency": {"kind": "constant", "ms": 1_500}})
    first = threading.Thread(target=ask, args=(comparator, BODY))
    first.start()
    try:
        refused = None
        while stored(comparator).idempotency_records == 0:
            pass
        refused = ask(comparator, BODY)
    finally:
        first.join()
    assert (refused[0], refused[2]["code"]) == (409, "request_in_flight")
    assert stored(comparator) == Stored(1, 1, 1999, 1, 0, 1999, 1999, 1, 1, 1, 1)


def test_declined_payment_has_failed_and_is_in_no_ledger(comparator):
    status, _, payment = ask(comparator, BODY | {"payment_method": {"type": "card", "token": "tok_decline_stolen"}})
    assert (status, payment["status"], payment["amount_captured"]) == (201, "failed", 0)
    assert stored(comparator) == NOTHING._replace(
        payments=1, idempotency_records=1, idempotency_answers=1, references=1
    )


@pytest.mark.parametrize("change", ({"amount": 0}, {"currency": "XXX"}, {"nonsense": 1}, {"payment_method": None}))
def test_body_that_is_not_valid_is_refused_and_leaves_nothing(comparator, change):
    assert ask(comparator, BODY | change)[0] == 422
    assert stored(comparator) == NOTHING


def test_token_that_is_not_good_is_refused_and_leaves_nothing(comparator):
    expired = comparator._issuer.token(expires_in_s=-60)
    unscoped = comparator._issuer.token(scope="payments:read")
    assert [ask(comparator, BODY, token=token)[0] for token in ("nonsense", expired, unscoped)] == [401] * 3
    assert stored(comparator) == NOTHING


def test_request_without_a_key_is_refused_and_leaves_nothing(comparator):
    assert ask(comparator, BODY, key=None)[0] in (400, 422)
    assert stored(comparator) == NOTHING
