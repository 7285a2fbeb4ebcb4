"""Write units are counted as the published rules say."""

from __future__ import annotations

from typing import Any

import pytest

from bench.aws.meter import KB, Meter, row_bytes, units
from bench.aws.page import missed, page
from bench.aws.write_units import BUDGETS

OVERHEAD = row_bytes({"pk": {"S": "p"}, "sk": {"S": "s"}, "d": {"B": b""}})
ONE_KB, TWO_KB = b"v" * (KB - OVERHEAD), b"v" * (KB - OVERHEAD + 1)


class Taker:
    """Takes everything."""

    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> dict[str, Any]:
            return {}

        return call


class Refuser:
    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> dict[str, Any]:
            raise RuntimeError("no")

        return call


@pytest.fixture
def meter() -> Meter:
    return Meter(Taker(), ["due"])


def row(content: bytes, due: str = "", **more: Any) -> dict[str, Any]:
    entry = {"due_p": {"S": "due"}, "due_s": {"S": due}} if due else {}
    return {"pk": {"S": "p"}, "sk": {"S": "s"}, "d": {"B": content}, **entry, **more}


async def spent(meter: Meter, operation: str, **request: Any) -> int:
    before = meter.units.get("consumers", 0)
    await getattr(meter, operation)(**request)
    return meter.units.get("consumers", 0) - before


async def put(meter: Meter, item: dict[str, Any]) -> int:
    return await spent(meter, "put_item", Item=item)


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (1_024, 1), (1_025, 2), (4_096, 4)])
def test_unit_is_a_kilobyte_begun(size: int, expected: int):
    assert units(size) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"S": "é"}, 2), ({"B": b"abc"}, 3), ({"N": "1000"}, 2), ({"N": "12"}, 2), ({"BOOL": True}, 1)],
)
def test_values_weigh_what_is_published(value: dict[str, Any], expected: int):
    assert row_bytes({"": value}) == expected


async def test_row_alone_costs_a_unit_for_each_kilobyte_of_the_larger_of_before_and_after(meter: Meter):
    assert await put(meter, row(ONE_KB)) == 1
    assert await put(meter, row(TWO_KB)) == 2
    assert await put(meter, row(ONE_KB)) == 2
    assert await put(meter, row(ONE_KB)) == 1
    assert await spent(meter, "delete_item", Key={"pk": {"S": "p"}, "sk": {"S": "s"}}) == 1


async def test_transaction_costs_twice_and_a_check_as_much(meter: Meter):
    key = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    items: list[Any] = [{"Put": {"Item": row(ONE_KB)}}]
    assert await spent(meter, "transact_write_items", TransactItems=items) == 2
    assert await spent(meter, "transact_write_items", TransactItems=[{"ConditionCheck": {"Key": key}}]) == 2
    assert await spent(meter, "transact_write_items", TransactItems=[{"Delete": {"Key": key}}]) == 2


async def test_index_entry_costs_one_to_come_or_go_two_to_move_and_nothing_to_stay(meter: Meter):
    assert await put(meter, row(b"1", "a")) == 1 + 1
    assert await put(meter, row(b"2", "a")) == 1
    assert await put(meter, row(b"2", "b")) == 1 + 2
    assert await put(meter, row(b"2")) == 1 + 1


async def test_reads_and_what_was_refused_cost_nothing(meter: Meter):
    assert await spent(meter, "get_item", Key={}) == 0
    refused = Meter(Refuser(), ["due"])
    with pytest.raises(RuntimeError):
        await refused.put_item(Item=row(b"1"))
    assert refused.units == {}


def results(units_of_a_sale: float, import_ms: float) -> dict[str, Any]:
    return {
        "taken": {"at": "2026-11-27", "commit": "c", "machine": "2 cores", "payments": 1, "times": 1},
        "write_units": {name: {"request": units_of_a_sale, "consumers": 1.0} for name in BUDGETS},
        "cold_starts": {
            "sweep": {"median_ms": import_ms, "least_ms": 1.0, "first_call_ms": 1.0, "archive_bytes": 1_000}
        },
    }


def test_budget_that_is_not_met_is_said_on_the_page_and_ends_with_status_one():
    assert missed(results(7.0, 450.0)) == []
    assert "MISSED" not in page(results(7.0, 450.0))
    assert len(missed(results(10.5, 451.0))) == 3
    assert page(results(10.5, 451.0)).count("MISSED") == 3
