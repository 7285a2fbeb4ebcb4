"""Unreached, not the primary any more, without a free connection, met by others: what each means to whoever called."""

from __future__ import annotations

import traceback

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from interlock.backends.mongo.calls import BUDGET_S, DUPLICATE_KEY
from interlock.backends.mongo.documents import replace_older
from interlock.core.kernel.documents import Document
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from tests.backends.mongo.stub import HurriedClock, Script, ScriptedRows, calls_of, refused

IN_PASSING = [
    AutoReconnect("docdb-1.cluster: connection closed"),
    NetworkTimeout("docdb-1.cluster: timed out"),
    NotPrimaryError("not primary"),
    OperationFailure("not master", 10_107),
    OperationFailure("stepped down", 189),
    OperationFailure("a cursor is gone", 43),
    refused(0, 112),
    refused(concern=True),
]
TOLD = [
    (ServerSelectionTimeoutError("docdb-1.cluster: refused"), "this network may reach its port"),
    (WaitQueueTimeoutError("docdb-1.cluster: none free"), "fewer at once"),
    (OperationFailure("bad auth for hunter2", 18), "check user and password"),
    (OperationFailure("not authorized", 13), "the user's roles"),
    (OperationFailure("an index of that name", 86), "drop it, the next write makes it anew"),
    (ExecutionTimeout("too long", 50), "repeat later"),
    (OperationFailure("no such command"), "repeat later"),
    (refused(DUPLICATE_KEY, 8_000), "check user and password"),
]


def document(number: int, version: int = 1) -> Document:
    return Document(f"pay_{number}", "ten_a", version, {}, b"{}")


def name_of(given: object) -> str:
    return type(given).__name__ if isinstance(given, Exception) else ""


# -- which are tried again, and for how long ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", IN_PASSING, ids=name_of)
async def test_what_failed_in_passing_is_tried_again_and_then_done(fault: Exception) -> None:
    call = Script(fault, fault, "done")
    assert await calls_of().run(call) == "done"
    assert len(call.calls) == 3


@pytest.mark.parametrize("fault", IN_PASSING, ids=name_of)
async def test_what_fails_for_longer_than_the_budget_is_unavailable(fault: Exception) -> None:
    clock = HurriedClock()
    call = Script(fault)
    with pytest.raises(StoreUnavailable):
        await calls_of(clock).run(call)
    assert 4 < len(call.calls) < 20
    assert clock.monotonic() <= BUDGET_S


@pytest.mark.parametrize(("fault", "advice"), TOLD, ids=name_of)
async def test_what_another_try_would_not_mend_is_told_at_once_with_what_to_do(fault: Exception, advice: str) -> None:
    call = Script(fault)
    with pytest.raises(StoreUnavailable, match=advice):
        await calls_of().run(call)
    assert len(call.calls) == 1


@pytest.mark.parametrize(
    "fault",
    [
        DocumentTooLarge("17000000 bytes"),
        InvalidDocument("a key with a dot"),
        OverflowError("8-byte ints"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        OperationFailure("BSONObj size", 10_334),
        refused(0, 17_280),
    ],
    ids=name_of,
)
async def test_what_can_never_be_kept_is_invalid_and_not_tried_again(fault: Exception) -> None:
    call = Script(fault)
    with pytest.raises(Invalid):
        await calls_of().run(call)
    assert len(call.calls) == 1


@pytest.mark.parametrize("fault", [*IN_PASSING, *(fault for fault, _ in TOLD)], ids=name_of)
async def test_no_word_of_the_driver_comes_through(fault: Exception) -> None:
    """It names hosts, and of a refused write the whole document."""
    with pytest.raises(StoreUnavailable) as told:
        await calls_of().run(Script(fault))
    shown = "".join(traceback.format_exception(told.value))
    assert [word for word in ("cus_1", "docdb-1", "hunter2", "pymongo.errors") if word in shown] == []


# -- writes that meet others --------------------------------------------------------------------------------------------


async def test_documents_that_met_another_are_asked_about_once_more_and_never_inserted() -> None:
    """Somebody inserted an older one between the look for an older one and the insert."""
    rows = ScriptedRows(refused(0, DUPLICATE_KEY, 0, DUPLICATE_KEY), "done")
    await replace_older(rows, [document(number, version=5) for number in range(4)])
    first, second = rows.script.calls
    assert [one._upsert for one in first] == [True] * 4
    assert [(one._doc["i"], one._filter["v"], one._upsert) for one in second] == [
        ("pay_1", {"$lt": 5}, False),
        ("pay_3", {"$lt": 5}, False),
    ]


@pytest.mark.parametrize(
    "fault", [refused(DUPLICATE_KEY, 112), refused(DUPLICATE_KEY, 8_000), refused(DUPLICATE_KEY, concern=True)]
)
async def test_write_that_others_than_duplicates_spoilt_is_not_taken_for_done(fault: BulkWriteError) -> None:
    rows = ScriptedRows(fault, "done")
    with pytest.raises(BulkWriteError):
        await replace_older(rows, [document(1), document(2)])
    assert len(rows.script.calls) == 1


async def test_write_repeated_after_a_lost_answer_sends_the_same_again() -> None:
    rows = ScriptedRows(AutoReconnect("lost"), refused(DUPLICATE_KEY), "done")
    await calls_of().run(lambda: replace_older(rows, [document(1, version=2)]))
    once, again, settled = rows.script.calls
    assert once == again
    assert [one._upsert for one in settled] == [False]
