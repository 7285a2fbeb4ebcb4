"""Every check of the crash test: what must hold of the evidence. Pure; each gives the complaints it has.

`losses` are acknowledged things that are gone or changed, `doubles` is money that moved twice; all else is `wrong`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from tests.crash.evidence import Evidence, payment_of

LOSS, DOUBLE, WRONG = "loss", "double", "wrong"


class Check(NamedTuple):
    what: str
    kind: str
    complaints: tuple[str, ...]


def judge(evidence: Evidence) -> list[Check]:
    """All of them. None stops another."""
    return [Check(what, kind, tuple(check(evidence))) for what, kind, check in CHECKS]


def _acknowledged_is_there(e: Evidence) -> Iterator[str]:
    for key, one in e.acknowledged.items():
        answer = msgspec.json.decode(one.answer)
        payment = e.payments.get(payment_of(one.answer))
        if payment is None:
            yield f"{key}: {payment_of(one.answer)} was acknowledged and is gone"
        elif answer["object"] == "refund":
            kept = {refund["id"]: refund["amount"] for refund in payment["refunds"]}
            if kept.get(answer["id"]) != answer["amount"]:
                yield f"{key}: refund {answer['id']} of {answer['amount']} was acknowledged and is {kept.get(answer['id'])}"
        else:
            yield from (f"{key}: {problem}" for problem in _taken_back(answer, payment))


def _taken_back(answer: Mapping[str, Any], payment: Mapping[str, Any]) -> Iterator[str]:
    for name in ("amount", "currency", "reference", "metadata", "capture_method", "created_at"):
        if answer[name] != payment[name]:
            yield f"{payment['id']}: {name} was acknowledged as {answer[name]} and is {payment[name]}"
    if payment["version"] < answer["version"]:
        yield f"{payment['id']}: version {answer['version']} was acknowledged and is {payment['version']}"
    captures = [(one["id"], one["amount"]) for one in payment["captures"]]
    for one in answer["captures"]:
        if (one["id"], one["amount"]) not in captures:
            yield f"{payment['id']}: capture {one['id']} of {one['amount']} was acknowledged and is gone"
    if answer["status"] == "canceled" and payment["status"] != "canceled" and not payment["amount_captured"]:
        yield f"{payment['id']}: was acknowledged as canceled and is {payment['status']}"


def _replayed_byte_for_byte(e: Evidence) -> Iterator[str]:
    for key, one in e.acknowledged.items():
        if (one.status, one.answer) != (one.again_status, one.again):
            yield f"{key}: {one.path} was answered {one.status} {one.answer}, and now {one.again_status} {one.again}"


def _charged_once(e: Evidence) -> Iterator[str]:
    for row in e.operations:
        if row["times_effected"] > 1:
            yield f"{row['attempt_id']} ({row['kind']} of {row['amount']}) took effect {row['times_effected']} times"
    holding = Counter(row["payment_id"] for row in e.charges if _held(row) > 0)
    for payment_id, count in holding.items():
        if count > 1:
            yield f"{payment_id} has {count} charges that hold the payer's money"
    made: dict[str, set[str]] = {}
    for key, one in e.acknowledged.items():
        if one.path == "/v1/payments":
            made.setdefault(str(one.body["reference"]), set()).add(payment_of(one.answer))
            if str(one.body["amount"]) != str(msgspec.json.decode(one.answer)["amount"]):
                yield f"{key}: asked for {one.body['amount']}, acknowledged with another amount"
    for reference, ids in made.items():
        if len(ids) > 1:
            yield f"{reference} became {len(ids)} payments: {', '.join(sorted(ids))}"


def _held(row: Mapping[str, Any]) -> int:
    return int(row["authorized"] - row["released"] - row["refunded"])


def _books_equal_payments(e: Evidence) -> Iterator[str]:
    """What was taken and given back for each payment, over all its charges: late ones were given back whole."""
    taken: Counter[str] = Counter()
    held: Counter[str] = Counter()
    disputed: Counter[str] = Counter()
    for row in e.charges:
        disputed[row["payment_id"]] += row["disputed"]
        taken[row["payment_id"]] += row["captured"] - row["refunded"]
        held[row["payment_id"]] += _held(row)
    for payment in e.payments.values():
        says = payment["amount_captured"] - payment["amount_refunded"]
        if taken[payment["id"]] != says:
            yield f"{payment['id']} says {says} {payment['currency']} are ours, the provider's books {taken[payment['id']]}"
        if payment["status"] in ("failed", "canceled") and held[payment["id"]] != says:
            yield f"{payment['id']} is {payment['status']}, and the provider holds {held[payment['id']]} of the payer's money"
        away = sum(one["amount"] for one in payment["disputes"] if one["status"] != "won")
        if disputed[payment["id"]] != away:
            yield f"{payment['id']} says {away} are disputed or lost, the provider's books {disputed[payment['id']]}"
    known = {payment_id for payment_id, _ in e.events.values()}
    for row in e.charges:
        if _held(row) and row["payment_id"] not in known:
            yield f"charge {row['charge']} of {_held(row)} {row['currency']} belongs to no payment: {row['payment_id']}"


def _books_equal_ledger(e: Evidence) -> Iterator[str]:
    says = {(one["code"], one["currency"]): one["balance"] for one in e.balances}
    for instance, currencies in e.totals.items():
        for currency, sums in currencies.items():
            booked = sums["captured"] - sums["refunded"] - sums["lost"]
            ledger = says.get((f"provider_receivable:{instance}", currency), 0)
            if ledger != booked:
                yield f"{instance} has {booked} {currency} of ours, the ledger says {ledger}"
    for (code, currency), balance in says.items():
        if code == "refunds_reserved" and balance:
            yield f"{balance} {currency} are reserved for refunds that are over"


def _ledger_verified(e: Evidence) -> Iterator[str]:
    if not e.ledger.get("sound"):
        yield f"interlock ledger verify: not sound: {e.ledger.get('findings')}"
    if e.ledger.get("behind"):
        yield f"{e.ledger['behind']} journals are not in the balances"


def _webhooks_came(e: Evidence) -> Iterator[str]:
    yield from (f"message {one} was not signed by the platform" for one in e.forged)
    came = {event for arrivals in e.arrivals.values() for event, _ in arrivals}
    for event, (payment_id, version) in e.events.items():
        if payment_id and event not in came:
            yield f"{payment_id}: event {event} (version {version}) never came"
    for payment_id, arrivals in e.arrivals.items():
        versions = [version for _, version in arrivals]
        if versions != sorted(versions):
            yield f"{payment_id}: its events came first in the order {versions}"
    told = {payment_id for payment_id, _ in e.events.values()}
    yield from (f"{payment_id}: there is no event of it" for payment_id in e.payments.keys() - told)


def _nothing_stuck(e: Evidence) -> Iterator[str]:
    yield from e.unsettled
    for payment in e.payments.values():
        if payment["status"] == "processing":
            yield f"{payment['id']} is processing"
        yield from (
            f"{payment['id']}: refund {one['id']} is pending"
            for one in payment["refunds"]
            if one["status"] == "pending"
        )
    for queue in e.queues:
        if waiting := queue["ready"] + queue["delayed"] + queue["leased"]:
            yield f"queue {queue['queue']}: {waiting} messages wait"
        if queue["dead"]:
            yield f"queue {queue['queue']}: {queue['dead']} dead letters"


def _nothing_odd(e: Evidence) -> Iterator[str]:
    yield from e.complaints


CHECKS: tuple[tuple[str, str, Callable[[Evidence], Iterator[str]]], ...] = (
    ("what was acknowledged is there", LOSS, _acknowledged_is_there),
    ("answers are replayed byte for byte", LOSS, _replayed_byte_for_byte),
    ("every event reached the endpoint, signed and in order", LOSS, _webhooks_came),
    ("no charge twice", DOUBLE, _charged_once),
    ("the provider's books equal the payments", WRONG, _books_equal_payments),
    ("the provider's books equal the ledger", WRONG, _books_equal_ledger),
    ("the ledger is sound", WRONG, _ledger_verified),
    ("nothing is stuck", WRONG, _nothing_stuck),
    ("no answer outside the contract, no process that ended by itself", WRONG, _nothing_odd),
)
