"""Throttled, timed out, in each other's way, without credentials: what each means to whoever called."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from interlock.backends.aws.calls import BUDGET_S
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable, WriteConflict
from interlock.core.kernel.events import encode_event
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Check, Delete, Key, Put
from tests.backends.aws.stub import HurriedClock, ScriptedClient, blobs_of, calls_of, feed_of, refusal, store_of
from tests.contracts.test_store import event

ONE, OTHER = Key("p", "one"), Key("p", "other")
PAIR = [Put(ONE, b"1"), Put(OTHER, b"2")]
UNREACHED = [EndpointConnectionError(endpoint_url="x"), ConnectTimeoutError(endpoint_url="x")]
LOST = ReadTimeoutError(endpoint_url="x")
THROTTLES = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "RequestThrottled",
]
CANCELLED = "TransactionCanceledException"


@pytest.mark.parametrize("fault", [*map(refusal, THROTTLES), *UNREACHED], ids=lambda fault: str(fault)[:40])
async def test_what_was_turned_away_is_tried_again_and_then_done(fault: Exception) -> None:
    client = ScriptedClient(fault, fault, {})
    await store_of(client).commit(PAIR)
    assert [operation for operation, _ in client.calls] == ["transact_write_items"] * 3


@pytest.mark.parametrize("fault", [*map(refusal, THROTTLES), *UNREACHED], ids=lambda fault: str(fault)[:40])
@pytest.mark.parametrize("writes", [PAIR, PAIR[:1]], ids=["together", "alone"])
async def test_what_is_turned_away_for_longer_than_the_budget_was_not_written(writes: Any, fault: Exception) -> None:
    with pytest.raises(StoreUnavailable):
        await store_of(ScriptedClient(fault)).commit(writes)


async def test_tries_end_within_the_budget_and_pauses_grow() -> None:
    clock = HurriedClock()
    client = ScriptedClient(refusal("ThrottlingException"))
    with pytest.raises(StoreUnavailable):
        await calls_of(client, clock).read("get_item")
    assert 4 < len(client.calls) < 20
    assert clock.monotonic() <= BUDGET_S


@pytest.mark.parametrize(
    "fault", [LOST, refusal("InternalServerError", status=500), refusal("TransactionInProgressException")]
)
async def test_transaction_whose_answer_is_lost_is_repeated_under_its_token(fault: Exception) -> None:
    client = ScriptedClient(fault, {})
    await store_of(client).commit(PAIR)
    first, second = (request["ClientRequestToken"] for _, request in client.calls)
    assert first == second


@pytest.mark.parametrize("writes", [PAIR, PAIR[:1]], ids=["together", "alone"])
async def test_write_whose_answers_are_all_lost_has_an_unknown_outcome(writes: Any) -> None:
    with pytest.raises(OutcomeUnknown):
        await store_of(ScriptedClient(LOST)).commit(writes)


async def test_write_lost_once_and_then_turned_away_has_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown):
        await store_of(ScriptedClient(LOST, refusal("ThrottlingException"))).commit(PAIR)


async def test_read_without_an_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await store_of(ScriptedClient(LOST)).get(ONE)


async def test_single_write_that_an_earlier_try_has_done_is_done() -> None:
    """The answer was lost, and the condition fails over what that try wrote."""
    failed = refusal("ConditionalCheckFailedException", Item={"c": {"S": "token-1"}})
    await store_of(ScriptedClient(LOST, failed)).commit(PAIR[:1])


async def test_single_write_overtaken_after_a_lost_answer_has_an_unknown_outcome() -> None:
    """It may have been written and then changed by somebody who saw it."""
    failed = refusal("ConditionalCheckFailedException", Item={"c": {"S": "another"}})
    with pytest.raises(OutcomeUnknown):
        await store_of(ScriptedClient(LOST, failed)).commit(PAIR[:1])


async def test_single_write_on_another_version_is_a_conflict() -> None:
    failed = refusal("ConditionalCheckFailedException", Item={"c": {"S": "another"}})
    with pytest.raises(WriteConflict) as conflict:
        await store_of(ScriptedClient(failed)).commit(PAIR[:1])
    assert conflict.value.key == ONE


@pytest.mark.parametrize(
    ("reasons", "key"),
    [
        (("None", "ConditionalCheckFailed", "None"), OTHER),
        (("ConditionalCheckFailed", "ConditionalCheckFailed", "None"), ONE),
        (("TransactionConflict", "ConditionalCheckFailed", "None"), OTHER),
        (("None", "None", "ConditionalCheckFailed"), ("event", "pay_1")),
    ],
)
async def test_first_condition_that_failed_is_named(reasons: tuple[str, ...], key: object) -> None:
    client = ScriptedClient(refusal(CANCELLED, *reasons))
    with pytest.raises(WriteConflict) as conflict:
        await store_of(client).commit(PAIR, [event(1)])
    assert conflict.value.key == key
    assert len(client.calls) == 1, "a condition that failed will fail again"


async def test_transaction_that_meets_another_one_is_tried_again() -> None:
    client = ScriptedClient(refusal(CANCELLED, "None", "TransactionConflict"), {})
    await store_of(client).commit(PAIR)
    assert len(client.calls) == 2


@pytest.mark.parametrize(
    ("writes", "fault"),
    [
        (PAIR, refusal(CANCELLED, "None", "TransactionConflict")),
        (PAIR[1:], refusal("TransactionConflictException")),
    ],
    ids=["together", "alone"],
)
async def test_write_that_meets_others_again_and_again_is_a_conflict(writes: Any, fault: Exception) -> None:
    with pytest.raises(WriteConflict) as conflict:
        await store_of(ScriptedClient(fault)).commit(writes)
    assert conflict.value.key == OTHER


async def test_throttled_transaction_is_tried_again_and_then_unavailable() -> None:
    client = ScriptedClient(refusal(CANCELLED, "None", "ThrottlingError"))
    with pytest.raises(StoreUnavailable):
        await store_of(client).commit(PAIR)
    assert len(client.calls) > 2


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException", "UnrecognizedClientException"])
async def test_credentials_that_are_not_good_are_said_at_once_and_what_to_do(code: str) -> None:
    client = ScriptedClient(refusal(code))
    with pytest.raises(StoreUnavailable, match="renew them or widen the role"):
        await store_of(client).commit(PAIR)
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    "then", [refusal("ExpiredTokenException"), refusal("ResourceNotFoundException"), NoCredentialsError()]
)
async def test_try_that_cannot_be_made_says_nothing_of_an_earlier_one_whose_answer_was_lost(then: Exception) -> None:
    with pytest.raises(OutcomeUnknown, match="earlier try"):
        await store_of(ScriptedClient(LOST, then)).commit(PAIR)
    with pytest.raises(StoreUnavailable):
        await store_of(ScriptedClient(LOST, then)).get(ONE)


async def test_no_credentials_at_all_and_no_table_are_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="could not be made"):
        await store_of(ScriptedClient(NoCredentialsError())).get(ONE)
    with pytest.raises(StoreUnavailable, match="Terraform"):
        await store_of(ScriptedClient(refusal("ResourceNotFoundException"))).get(ONE)


async def test_what_dynamodb_calls_malformed_is_invalid() -> None:
    with pytest.raises(Invalid):
        await store_of(ScriptedClient(refusal("ValidationException"))).commit(PAIR)


async def test_commit_of_one_write_costs_no_transaction_and_a_check_alone_needs_one() -> None:
    client = ScriptedClient({})
    store = store_of(client)
    await store.commit([Put(ONE, b"")])
    await store.commit([Delete(ONE, 1)])
    await store.commit([], [event(1)])
    await store.commit([Check(ONE, 0)])
    assert [operation for operation, _ in client.calls] == [
        "put_item",
        "delete_item",
        "put_item",
        "transact_write_items",
    ]


async def test_keys_that_were_not_processed_are_asked_for_again() -> None:
    entry = {"pk": {"S": "i/p"}, "sk": {"S": "one"}, "due_p": {"S": "s"}, "due_s": {"S": "1"}}
    whole = entry | {"v": {"N": "1"}, "d": {"B": b"x"}}
    left = {"interlock": {"Keys": [{"pk": entry["pk"], "sk": entry["sk"]}]}}
    client = ScriptedClient(
        {"Items": [entry]},
        {"Responses": {}, "UnprocessedKeys": left},
        {"Responses": {"interlock": [whole]}, "UnprocessedKeys": {}},
    )
    page = await store_of(client).query_index("due", "s")
    assert [item.value for item in page.items] == [b"x"]


async def test_keys_left_out_again_and_again_are_unavailable() -> None:
    entry = {"pk": {"S": "i/p"}, "sk": {"S": "one"}, "due_p": {"S": "s"}, "due_s": {"S": "1"}}
    left = {"interlock": {"Keys": [{"pk": entry["pk"], "sk": entry["sk"]}]}}
    client = ScriptedClient({"Items": [entry]}, {"Responses": {}, "UnprocessedKeys": left})
    with pytest.raises(StoreUnavailable, match="throttles"):
        await store_of(client).query_index("due", "s")


# -- S3 -----------------------------------------------------------------------------------------------------------------

TAKEN = refusal("PreconditionFailed", status=412)


async def test_put_of_a_taken_key_is_false_and_asks_nothing_more() -> None:
    client = ScriptedClient(TAKEN)
    assert await blobs_of(client).put("a", b"x") is False
    assert len(client.calls) == 1


@pytest.mark.parametrize(("token", "ours"), [("token-1", True), ("another", False)])
async def test_put_that_finds_the_key_taken_after_a_lost_answer_looks_whose_it_is(token: str, ours: bool) -> None:
    client = ScriptedClient(LOST, TAKEN, {"Metadata": {"put": token}})
    assert await blobs_of(client).put("a", b"x") is ours


async def test_put_that_meets_another_one_again_and_again_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await blobs_of(ScriptedClient(refusal("ConditionalRequestConflict", status=409))).put("a", b"x")


async def test_put_whose_answers_are_all_lost_has_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown):
        await blobs_of(ScriptedClient(LOST)).put("a", b"x")


async def test_bucket_that_slows_down_is_asked_again_and_one_that_is_not_there_is_said() -> None:
    client = ScriptedClient(refusal("SlowDown", status=503), {"Contents": [{"Key": "a"}], "IsTruncated": False})
    assert await blobs_of(client).list("") == ["a"]
    with pytest.raises(StoreUnavailable, match="no such bucket"):
        await blobs_of(ScriptedClient(refusal("NoSuchBucket", status=404))).list("")


async def test_list_goes_on_through_the_buckets_own_pages() -> None:
    client = ScriptedClient(
        {"Contents": [{"Key": "a"}], "IsTruncated": True, "NextContinuationToken": "behind a"},
        {"Contents": [{"Key": "b"}], "IsTruncated": False},
    )
    assert await blobs_of(client).list("") == ["a", "b"]
    assert client.calls[1][1]["ContinuationToken"] == "behind a"


# -- the stream ---------------------------------------------------------------------------------------------------------

PARENT, CHILD = {"ShardId": "parent"}, {"ShardId": "child", "ParentShardId": "parent"}


def shards(*described: Any) -> dict[str, Any]:
    return {"StreamDescription": {"Shards": list(described)}}


def records(*events: tuple[int, str], following: str | None) -> dict[str, Any]:
    """A page of a shard: (version, sequence number) of each event, and where the next one begins; None at its end."""
    told = [
        {
            "eventName": "INSERT",
            "dynamodb": {
                "SequenceNumber": number,
                "NewImage": {
                    "pk": {"S": "e/pay_1"},
                    "sk": {"S": f"{version:019d}"},
                    "b": {"B": encode_event(event(version))},
                },
            },
        }
        for version, number in events
    ]
    return {"Records": told} | ({} if following is None else {"NextShardIterator": following})


async def test_child_of_a_shard_is_read_when_its_parent_has_ended() -> None:
    client = ScriptedClient(
        shards(CHILD, PARENT),
        {"ShardIterator": "1"},
        records((1, "10"), following=None),
        {"ShardIterator": "2"},
        records((2, "20"), following="3"),
        records(following="4"),
    )
    found = await feed_of(client).read(after=START)
    assert [one.event.version for one in found] == [1, 2]
    assert [request["ShardId"] for operation, request in client.calls if operation == "get_shard_iterator"] == [
        "parent",
        "child",
    ]


async def test_child_waits_while_its_parent_may_have_more() -> None:
    client = ScriptedClient(
        shards(PARENT, CHILD), {"ShardIterator": "1"}, records((1, "10"), following="2"), records(following="3")
    )
    found = await feed_of(client).read(after=START)
    assert [one.event.version for one in found] == [1]


async def test_iterator_that_has_expired_is_taken_anew_at_the_same_place() -> None:
    client = ScriptedClient(
        shards(PARENT),
        {"ShardIterator": "1"},
        refusal("ExpiredIteratorException"),
        {"ShardIterator": "2"},
        records((3, "30"), following="3"),
        records(following="4"),
    )
    found = await feed_of(client).read(after='{"parent":"20"}')
    assert [one.event.version for one in found] == [3]
    taken = [request["SequenceNumber"] for operation, request in client.calls if operation == "get_shard_iterator"]
    assert taken == ["20", "20"]


async def test_reader_further_behind_than_the_stream_remembers_is_told_so() -> None:
    client = ScriptedClient(shards(PARENT), refusal("TrimmedDataAccessException"))
    with pytest.raises(StoreUnavailable, match="replay"):
        await feed_of(client).read(after='{"parent":"20"}')
