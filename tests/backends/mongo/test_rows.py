"""How documents stand in DocumentDB, and which never can."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.backends.mongo.documents import MongoDocuments
from interlock.backends.mongo.rows import (
    BODY_BYTES_MAX,
    FIELDS_MAX,
    ID_BYTES_MAX,
    INTEGER_MAX,
    TENANT_BYTES_MAX,
    VALUE_BYTES_MAX,
    check,
    document_of,
    indexes,
    row_id,
    row_of,
)
from interlock.core.kernel.documents import Collection, Document
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.secrets import Secret
from tests.clocks import ManualClock

INDEX_KEY_BYTES_MAX = 2_048
DOCUMENT_BYTES_MAX = 16 * 1024 * 1024


def document(**given: Any) -> Document:
    parts: dict[str, Any] = {"id": "pay_1", "tenant": "ten_a", "version": 1, "fields": {}, "body": b"{}"}
    return Document(**(parts | given))


def documents_of(*collections: Collection) -> MongoDocuments:
    return MongoDocuments(
        Secret("mongodb://127.0.0.1:1/"), collections, clock=ManualClock(), random=lambda: 0.5, database="d"
    )


def test_each_kind_of_value_is_another_text_and_comes_back_as_it_was() -> None:
    values = [1, True, "1", 0, False, "0", "", "b1", "i1", "s", -7, 2**53, INTEGER_MAX]
    rows = [row_of(document(fields={"x": value})) for value in values]
    assert len({row["f"]["x"] for row in rows}) == len(values)
    back = [document_of(row).fields["x"] for row in rows]
    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


def test_tenants_whose_names_run_into_their_ids_stay_apart() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("1:a", "bc"), ("1", ":abc")]
    assert len({row_id(tenant, id) for tenant, id in pairs}) == len(pairs)


def test_indexes_are_one_for_ids_and_one_for_each_field_behind_the_tenant_newest_first() -> None:
    assert [index.document for index in indexes(["status", "customer"])] == [
        {"name": "by_id", "key": {"t": 1, "i": -1}, "unique": True},
        {"name": "by_status", "key": {"t": 1, "f.status": 1, "i": -1}},
        {"name": "by_customer", "key": {"t": 1, "f.customer": 1, "i": -1}},
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"tenant": "é" * (TENANT_BYTES_MAX // 2) + "x"},
        {"id": "x" * (ID_BYTES_MAX + 1)},
        {"fields": {"status": "x" * (VALUE_BYTES_MAX + 1)}},
        {"fields": {"status": INTEGER_MAX + 1}},
        {"fields": {"status": "\ud800"}},
        {"fields": {"status": "a\0b"}},
        {"id": "a\0b"},
        {"version": INTEGER_MAX + 1},
        {"version": -1},
        {"body": b"x" * (BODY_BYTES_MAX + 1)},
        {"body": b"\xff"},
    ],
    ids=lambda given: f"{next(iter(given))}-{str(next(iter(given.values())))[:12]!a}",
)
async def test_document_that_cannot_be_kept_is_invalid_before_anything_is_sent(given: dict[str, Any]) -> None:
    """No server answers at that address: whoever asked it would be told so instead."""
    documents = documents_of(Collection("payments", ("status",)))
    with pytest.raises(Invalid):
        await documents.upsert("payments", [document(), document(**given)])


def test_longest_ids_and_values_fit_the_key_of_an_index_and_the_longest_document_fits() -> None:
    long = document(
        tenant="t" * TENANT_BYTES_MAX,
        id="i" * ID_BYTES_MAX,
        fields={f"field_{number}": "v" * VALUE_BYTES_MAX for number in range(FIELDS_MAX)},
        body=b"x" * BODY_BYTES_MAX,
        version=INTEGER_MAX,
    )
    check(long)
    row = row_of(long)
    assert len(row["t"]) + len(row["f"]["field_0"]) + len(row["i"]) < INDEX_KEY_BYTES_MAX - 100
    assert len(row["_id"]) < INDEX_KEY_BYTES_MAX - 100
    assert len(str(row)) < DOCUMENT_BYTES_MAX


@pytest.mark.parametrize("name", ["", "a.b", "$where", "Status", "1st", "x" * 51, "a\0", "f.x"])
def test_name_that_cannot_be_a_key_or_an_index_is_refused_when_it_is_declared(name: str) -> None:
    for collection in (Collection(name), Collection("payments", (name,))):
        with pytest.raises(ValueError, match="cannot name"):
            documents_of(collection)


def test_more_fields_than_indexes_can_be_made_for_are_refused_when_declared() -> None:
    with pytest.raises(ValueError, match="60 is the most"):
        documents_of(Collection("payments", tuple(f"field_{number}" for number in range(FIELDS_MAX + 1))))
