"""What only secrets on Secrets Manager can get wrong: names, long values, deletion, what is remembered of priced reads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.aws.secrets import CACHE_S, NAME_MOST, PART_MOST, PARTS_MOST, AwsSecrets
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.clocks import ManualClock
from tests.contracts.on_aws import managed_secrets
from tests.contracts.test_secrets import CANARY, Pair, revealed

pytestmark = pytest.mark.aws
LONG = [Secret("a" * PART_MOST), Secret("b" * PART_MOST)]


@pytest.fixture
async def pair(aws: str, clock: ManualClock) -> AsyncIterator[Pair]:
    async with managed_secrets(aws, clock) as (secrets, other):
        yield Pair(secrets, other, CACHE_S)


@pytest.fixture
def secrets(pair: Pair) -> AwsSecrets:
    assert isinstance(pair.secrets, AwsSecrets)
    return pair.secrets


async def raw(secrets: AwsSecrets, operation: str, **request: Any) -> Any:
    """A call behind the adapter's back."""
    return await secrets._calls.write(operation, **request)


async def ids(secrets: AwsSecrets) -> list[str]:
    listed = await raw(secrets, "list_secrets", MaxResults=100)
    names = [one["Name"] for one in listed["SecretList"] if one["Name"].startswith(secrets._prefix)]
    return sorted(name.removeprefix(secrets._prefix) for name in names)


async def test_every_name_has_a_secret_of_its_own_in_the_alphabet_of_aws(secrets: AwsSecrets) -> None:
    names = ["a b", "a=20b", "a=b", "a%b", "é", "e", "a/b", "a-b", "signing-abcdef", "=part", "A"]
    for name in names:
        await secrets.put(name, [Secret(name)])
    assert [await revealed(secrets, name) for name in names] == [[name] for name in names]
    found = await ids(secrets)
    assert {"a=20b", "signing-abcdef", "=C3=A9"} <= set(found)
    assert all(re.fullmatch(r"[A-Za-z0-9/_+=.@-]+", one) for one in found), "the emulator takes any"


@pytest.mark.parametrize("name", ["", "x" * (NAME_MOST + 1), "é" * 70])
async def test_name_that_is_empty_or_too_long_is_invalid(secrets: AwsSecrets, name: str) -> None:
    with pytest.raises(Invalid):
        await secrets.get(name)
    with pytest.raises(Invalid):
        await secrets.put(name, [Secret("x")])


async def test_long_values_stand_in_parts_which_go_when_they_are_replaced(pair: Pair, clock: ManualClock) -> None:
    assert isinstance(pair.secrets, AwsSecrets)
    await pair.secrets.put("long", LONG)
    assert len(await ids(pair.secrets)) == 4
    await pair.secrets.put("long", [*LONG, *LONG])
    assert len(await ids(pair.secrets)) == 6
    assert await pair.other.get("long") == [*LONG, *LONG]
    assert await pair.secrets.get("long") == [*LONG, *LONG]
    await pair.secrets.put("long", [Secret("short")])
    assert await ids(pair.secrets) == ["long"]
    assert await revealed(pair.secrets, "long") == ["short"]


async def test_values_of_more_than_all_parts_are_invalid_and_the_old_ones_stay(secrets: AwsSecrets) -> None:
    await secrets.put("one", [Secret("old")])
    with pytest.raises(Invalid):
        await secrets.put("one", [Secret("x" * PART_MOST * PARTS_MOST)])
    assert await revealed(secrets, "one") == ["old"]


async def test_secret_scheduled_for_deletion_is_none_until_it_is_put_again(secrets: AwsSecrets) -> None:
    await secrets.put("one", [Secret("old")])
    await raw(secrets, "delete_secret", SecretId=f"{secrets._prefix}one", RecoveryWindowInDays=7)
    assert await secrets.get("one") == []
    await secrets.put("one", [Secret("new")])
    assert await revealed(secrets, "one") == ["new"]


async def test_values_are_remembered_for_a_minute_and_no_longer(pair: Pair, clock: ManualClock) -> None:
    await pair.other.put("one", [Secret("old")])
    assert await revealed(pair.secrets, "one") == ["old"]
    await pair.other.put("one", [Secret("new")])
    clock.advance(CACHE_S - 0.001)
    assert await revealed(pair.secrets, "one") == ["old"]
    clock.advance(0.001)
    assert await revealed(pair.secrets, "one") == ["new"]


async def test_changing_the_list_got_from_memory_changes_nothing(secrets: AwsSecrets) -> None:
    await secrets.put("one", [Secret("a")])
    for _ in range(3):
        got = await secrets.get("one")
        assert got == [Secret("a")]
        got.clear()


@pytest.mark.parametrize("text", [CANARY, f'"{CANARY}"', f'{{"user": "{CANARY}"}}', f'{{"{CANARY}', f'["{CANARY}", 1]'])
async def test_secret_written_by_hand_in_another_form_is_refused_and_not_quoted(secrets: AwsSecrets, text: str) -> None:
    await raw(secrets, "create_secret", Name=f"{secrets._prefix}one", SecretString=text)
    with pytest.raises(StoreUnavailable, match="JSON list") as refused:
        await secrets.get("one")
    assert CANARY not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
    await secrets.put("one", [Secret("sound")])
    assert await revealed(secrets, "one") == ["sound"]
