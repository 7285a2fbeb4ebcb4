"""Secrets Manager on bad days: in each other's way, half replaced, without an answer."""

from __future__ import annotations

import asyncio
import json

import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.secrets import CACHED_MOST, PART_MOST, AwsSecrets
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.clocks import ManualClock

LOST = ReadTimeoutError(endpoint_url="x")
ABSENT, TAKEN = refusal("ResourceNotFoundException"), refusal("ResourceExistsException")
CANARY = "canary-Zx81Qw-do-not-print"


def secrets_of(client: ScriptedClient, clock: ManualClock | None = None) -> AwsSecrets:
    clock, tokens = clock or HurriedClock(), iter(f"token-{number}" for number in range(1, 100))
    calls = Calls(client, clock=clock, random=lambda: 0.5, what="Secrets Manager", missing={})
    return AwsSecrets(calls, clock=clock, new_token=lambda: next(tokens), kms_key="alias/interlock")


def text(*values: str) -> dict[str, str]:
    return {"SecretString": json.dumps(values)}


def made(client: ScriptedClient) -> list[str]:
    return [operation for operation, _ in client.calls]


async def test_new_secret_is_made_under_the_platforms_key_and_token_of_its_write() -> None:
    client = ScriptedClient(ABSENT, ABSENT, {})
    await secrets_of(client).put("one", [Secret("x")])
    assert made(client) == ["get_secret_value", "put_secret_value", "create_secret"]
    assert client.calls[2][1] == {
        "Name": "interlock/one",
        "SecretString": '["x"]',
        "ClientRequestToken": "token-1",
        "KmsKeyId": "alias/interlock",
    }


async def test_secret_that_somebody_else_made_meanwhile_is_written() -> None:
    client = ScriptedClient(ABSENT, ABSENT, TAKEN, {})
    await secrets_of(client).put("one", [Secret("x")])
    assert made(client)[1:] == ["put_secret_value", "create_secret", "put_secret_value"]


async def test_secret_that_others_make_and_delete_again_and_again_is_unavailable() -> None:
    client = ScriptedClient(ABSENT, ABSENT, TAKEN, ABSENT, TAKEN, ABSENT, TAKEN)
    with pytest.raises(StoreUnavailable):
        await secrets_of(client).put("one", [Secret("x")])


async def test_state_that_is_no_deletion_is_unavailable_and_not_taken_for_an_absent_secret() -> None:
    secrets = secrets_of(ScriptedClient(refusal("InvalidRequestException")))
    with pytest.raises(StoreUnavailable):
        await secrets.get("one")
    with pytest.raises(StoreUnavailable):
        await secrets.put("one", [Secret("x")])


async def test_put_whose_answer_is_lost_is_repeated_under_its_token() -> None:
    client = ScriptedClient(text("old"), LOST, {})
    await secrets_of(client).put("one", [Secret("new")])
    assert [request["ClientRequestToken"] for _, request in client.calls[1:]] == ["token-1", "token-1"]


async def test_put_whose_answers_are_all_lost_has_an_unknown_outcome_and_tells_no_secret() -> None:
    client = ScriptedClient(text("old"), LOST)
    with pytest.raises(OutcomeUnknown) as unknown:
        await secrets_of(client).put("one", [Secret(CANARY)])
    assert CANARY not in f"{unknown.value!r} {unknown.value.__cause__!r}"


async def test_values_are_asked_for_anew_after_a_put_whatever_became_of_it() -> None:
    client = ScriptedClient(text("old"), text("old"), refusal("EncryptionFailure"), text("new"))
    secrets = secrets_of(client, ManualClock())
    await secrets.get("one")
    with pytest.raises(StoreUnavailable, match="EncryptionFailure"):
        await secrets.put("one", [Secret("new")])
    assert await secrets.get("one") == [Secret("new")]


async def test_read_that_a_put_overtakes_is_not_remembered() -> None:
    client = ScriptedClient(text("old"), text("old"), {}, text("new"))
    secrets = secrets_of(client, ManualClock())
    answered = asyncio.Event()
    whole = secrets._whole

    async def late(secret_id: str) -> str | None:
        found = await whole(secret_id)
        await answered.wait()
        return found

    secrets._whole = late  # type: ignore[method-assign]
    reading = asyncio.create_task(secrets.get("one"))
    await asyncio.sleep(0)
    await secrets.put("one", [Secret("new")])
    answered.set()
    assert await reading == [Secret("old")]
    assert await secrets.get("one") == [Secret("new")]


async def test_secret_of_bytes_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="JSON list"):
        await secrets_of(ScriptedClient({"SecretBinary": b"x"})).get("one")


async def test_parts_that_go_while_they_are_read_lead_to_the_newer_ones() -> None:
    head = {"SecretString": json.dumps({"parts": 1, "of": "token-9"})}
    client = ScriptedClient(head, ABSENT, text("new"))
    assert await secrets_of(client).get("one") == [Secret("new")]
    assert client.calls[1][1]["SecretId"] == "interlock/one=part/token-9/0"


async def test_parts_that_are_never_there_are_unavailable() -> None:
    head = {"SecretString": json.dumps({"parts": 1, "of": "token-9"})}
    with pytest.raises(StoreUnavailable):
        await secrets_of(ScriptedClient(head, ABSENT, head, ABSENT, head, ABSENT)).get("one")


async def test_parts_are_written_before_what_names_them() -> None:
    client = ScriptedClient(text("old"), {})
    await secrets_of(client).put("one", [Secret("x" * PART_MOST)])
    assert [request["SecretId"] for _, request in client.calls[1:]] == [
        "interlock/one=part/token-1/0",
        "interlock/one=part/token-1/1",
        "interlock/one",
    ]


async def test_put_is_done_though_the_old_parts_could_not_be_deleted() -> None:
    head = {"SecretString": json.dumps({"parts": 2, "of": "token-9"})}
    client = ScriptedClient(head, {}, refusal("InvalidRequestException"))
    await secrets_of(client).put("one", [Secret("x")])
    assert made(client) == ["get_secret_value", "put_secret_value", "delete_secret"]


async def test_no_more_secrets_are_remembered_than_a_bounded_number() -> None:
    client = ScriptedClient(text("x"))
    secrets = secrets_of(client, ManualClock())
    for number in range(CACHED_MOST + 1):
        await secrets.get(f"name {number}")
    await secrets.get(f"name {CACHED_MOST}")
    assert len(client.calls) == CACHED_MOST + 1
    await secrets.get("name 0")
    assert len(client.calls) == CACHED_MOST + 2
