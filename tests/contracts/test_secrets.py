"""The Secrets port's promises, over every adapter; then what only a file can get wrong."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from interlock.backends.aws.secrets import CACHE_S
from interlock.backends.local.secrets import FileSecrets
from interlock.backends.memory.secrets import MemorySecrets
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret, Secrets
from tests.clocks import ManualClock
from tests.contracts.on_aws import managed_secrets

CANARY = "canary-Zx81Qw-do-not-print"


class Pair(NamedTuple):
    """Two of them on the same secrets, as two processes or two parts of one would have."""

    secrets: Secrets
    other: Secrets
    notices_s: float = 0.0
    """How much time passes until one sees what the other changed: some where reads are priced and remembered."""


@pytest.fixture(params=["memory", "file", pytest.param("secretsmanager", marks=pytest.mark.aws)])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Pair]:
    if request.param == "memory":
        memory = MemorySecrets()
        yield Pair(memory, memory)
    elif request.param == "secretsmanager":
        async with managed_secrets(request.getfixturevalue("aws"), clock) as (secrets, other):
            yield Pair(secrets, other, notices_s=CACHE_S)
    else:
        yield Pair(FileSecrets(tmp_path / "data" / "secrets.json"), FileSecrets(tmp_path / "data" / "secrets.json"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"webhooks": [CANARY]}))
    path.chmod(0o600)
    return path


async def revealed(secrets: Secrets, name: str) -> list[str]:
    return [secret.reveal() for secret in await secrets.get(name)]


async def test_unknown_name_has_no_values(pair: Pair) -> None:
    assert await pair.secrets.get("nothing") == []


async def test_values_come_back_elsewhere_newest_first(pair: Pair) -> None:
    await pair.secrets.put("signing", [Secret("newest"), Secret("older"), Secret("oldest")])
    assert await revealed(pair.other, "signing") == ["newest", "older", "oldest"]
    assert all(isinstance(secret, Secret) for secret in await pair.other.get("signing"))


@pytest.mark.parametrize("value", ["", "é ☃", 'quote " and \\', "line\nbreak", "\x00", "x" * 100_000])
async def test_any_text_is_a_value(pair: Pair, value: str) -> None:
    await pair.secrets.put("any name/at all é", [Secret(value)])
    assert await revealed(pair.other, "any name/at all é") == [value]


async def test_put_replaces_the_values_of_that_name_only(pair: Pair) -> None:
    await pair.secrets.put("one", [Secret("a"), Secret("b")])
    await pair.secrets.put("two", [Secret("c")])
    await pair.other.put("one", [Secret("d")])
    assert await revealed(pair.secrets, "one") == ["d"]
    assert await revealed(pair.secrets, "two") == ["c"]


async def test_change_made_elsewhere_is_seen_after_values_were_read_before(pair: Pair, clock: ManualClock) -> None:
    await pair.secrets.put("signing", [Secret("same length 1")])
    assert await revealed(pair.secrets, "signing") == ["same length 1"]
    for number in range(2, 9):
        await pair.other.put("signing", [Secret(f"same length {number}")])
        clock.advance(pair.notices_s)
        assert await revealed(pair.secrets, "signing") == [f"same length {number}"]


async def test_changing_the_list_given_or_got_changes_nothing(pair: Pair) -> None:
    given = [Secret("a")]
    await pair.secrets.put("one", given)
    given.append(Secret("b"))
    got = await pair.secrets.get("one")
    got.clear()
    assert await revealed(pair.secrets, "one") == ["a"]


async def test_puts_of_different_names_at_once_are_all_kept(pair: Pair) -> None:
    await asyncio.gather(*(pair[number % 2].put(f"name {number}", [Secret(str(number))]) for number in range(16)))
    assert [await revealed(pair.secrets, f"name {number}") for number in range(16)] == [[str(n)] for n in range(16)]


async def test_repr_shows_no_value(pair: Pair) -> None:
    await pair.secrets.put("one", [Secret(CANARY)])
    await pair.secrets.get("one")
    assert CANARY not in f"{pair.secrets} {pair.secrets!r} {await pair.secrets.get('one')}"


# -- file only ----------------------------------------------------------------------------------------------------------


async def test_file_is_made_readable_by_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        await FileSecrets(tmp_path / "new" / "secrets.json").put("one", [Secret("a")])
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "new" / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o610, 0o777])
async def test_file_that_others_can_reach_is_refused_and_the_error_says_what_to_do(file: Path, mode: int) -> None:
    secrets = FileSecrets(file)
    assert await revealed(secrets, "webhooks") == [CANARY]
    file.chmod(mode)
    for call in (secrets.get("webhooks"), FileSecrets(file).get("webhooks"), secrets.put("one", [Secret("a")])):
        with pytest.raises(StoreUnavailable, match=f"chmod 600 {file}") as refused:
            await call
        assert CANARY not in repr(refused.value)
    assert json.loads(file.read_text()) == {"webhooks": [CANARY]}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "%s"}', '{"a": [1]}', '{"a": ["%s"', '{"a": ["%s"]} x'])
async def test_damaged_file_is_refused_kept_and_not_quoted(file: Path, content: str) -> None:
    damaged = content.replace("%s", CANARY)
    file.write_text(damaged)
    secrets = FileSecrets(file)
    for call in (secrets.get("a"), secrets.put("one", [Secret("a")])):
        with pytest.raises(StoreUnavailable, match="damaged") as refused:
            await call
        assert CANARY not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert file.read_text() == damaged


async def test_file_is_replaced_and_never_written_in_place(file: Path) -> None:
    old = file.with_name("old")
    os.link(file, old)
    await FileSecrets(file).put("webhooks", [Secret("new")])
    assert json.loads(old.read_text()) == {"webhooks": [CANARY]}
    assert json.loads(file.read_text()) == {"webhooks": ["new"]}


async def test_content_then_its_name_are_synchronised_before_put_returns(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted_fsync(handle: int) -> None:
        what = "folder" if Path(os.readlink(f"/proc/self/fd/{handle}")).is_dir() else "content"
        seen.append((what, b"new" in file.read_bytes()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    await FileSecrets(file).put("webhooks", [Secret("new")])
    assert seen == [("content", False), ("folder", True)]


async def test_failed_write_leaves_the_old_file_and_no_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable):
        await FileSecrets(file).put("webhooks", [Secret("new")])
    assert json.loads(file.read_text()) == {"webhooks": [CANARY]}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


async def test_directory_in_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").mkdir(mode=0o700)
    with pytest.raises(StoreUnavailable):
        await FileSecrets(tmp_path / "secrets.json").get("one")
