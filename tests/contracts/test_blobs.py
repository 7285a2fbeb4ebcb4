"""The Blobs port's promises, over every adapter; then what only files can get wrong."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from interlock.backends.local.blobs import FileBlobs
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from tests.clocks import ManualClock
from tests.contracts.on_aws import s3_blobs

BAD_KEYS = [
    "", "/", "a/", "/a", "a//b", ".", "..", "...", "a/..", "../a", "a/../b", "a/./b", "a\\b", "a b", "a\n", "\na", "a\x00",
    "é", "a=b", "~", "~/a", "=a", "a:b", "a*", "²", "x" * 201, "/".join(["word"] * 250), "C:", "%2e%2e/a", "a\r",
]  # fmt: skip
GOOD_KEYS = [
    "a", "A", "0", "-", "_", "a.b", ".hidden", "..a", "a..", "a/b/c", "a-b_c.d/E9", "a/.x", "x" * 200, "a/b.json", "CON", "-rf",
]  # fmt: skip


class Pair(NamedTuple):
    """Two of them on the same blobs, as two processes or two parts of one would have."""

    blobs: Blobs
    other: Blobs


@pytest.fixture(params=["memory", "files", pytest.param("s3", marks=pytest.mark.aws)])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Pair]:
    if request.param == "memory":
        memory = MemoryBlobs()
        yield Pair(memory, memory)
    elif request.param == "s3":
        async with s3_blobs(request.getfixturevalue("aws"), clock) as (blobs, other):
            yield Pair(blobs, other)
    else:
        yield Pair(FileBlobs(tmp_path / "data" / "blobs"), FileBlobs(tmp_path / "data" / "blobs"))


@pytest.fixture
def blobs(pair: Pair) -> Blobs:
    return pair.blobs


# -- put and get --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5_000])
async def test_stored_content_comes_back_elsewhere_byte_for_byte(pair: Pair, content: bytes) -> None:
    assert await pair.blobs.put("settlements/2026-11-21/batch_380.csv", content) is True
    assert await pair.other.get("settlements/2026-11-21/batch_380.csv") == content


async def test_taken_key_is_false_and_keeps_its_content(pair: Pair) -> None:
    assert await pair.blobs.put("a/b", b"first") is True
    assert await pair.other.put("a/b", b"second") is False
    assert await pair.blobs.put("a/b", b"first") is False
    assert await pair.blobs.get("a/b") == b"first"


async def test_of_many_writers_of_one_key_exactly_one_stores(pair: Pair) -> None:
    contents = [f"writer {number}".encode() * 1_000 for number in range(16)]
    stored = await asyncio.gather(*(pair[at % 2].put("race/one", content) for at, content in enumerate(contents)))
    assert stored.count(True) == 1
    assert await pair.blobs.get("race/one") == contents[stored.index(True)]


async def test_unknown_key_is_none(blobs: Blobs) -> None:
    assert await blobs.get("nothing/here") is None
    await blobs.put("nothing/here", b"x")
    for absent in ("nothing", "nothing/her", "nothing/here/below", "nothing/here.txt"):
        assert await blobs.get(absent) is None


@pytest.mark.parametrize("key", GOOD_KEYS)
async def test_good_key_is_stored_listed_and_found(blobs: Blobs, key: str) -> None:
    assert await blobs.put(key, b"x") is True
    assert await blobs.get(key) == b"x"
    assert await blobs.list("") == [key]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_bad_key_is_invalid_and_nothing_is_stored(blobs: Blobs, key: str) -> None:
    with pytest.raises(Invalid):
        await blobs.put(key, b"x")
    with pytest.raises(Invalid):
        await blobs.get(key)
    assert await blobs.list("") == []


async def test_key_may_also_be_the_beginning_of_others(blobs: Blobs) -> None:
    for key in ("a", "a/b", "a/b/c", "a.b"):
        assert await blobs.put(key, key.encode()) is True
    assert {key: await blobs.get(key) for key in ("a", "a/b", "a/b/c", "a.b")} == {
        "a": b"a",
        "a/b": b"a/b",
        "a/b/c": b"a/b/c",
        "a.b": b"a.b",
    }


async def test_keys_differ_by_case(blobs: Blobs) -> None:
    assert await blobs.put("Report", b"1") is True
    assert await blobs.put("report", b"2") is True
    assert await blobs.get("Report") == b"1"


# -- list ---------------------------------------------------------------------------------------------------------------

LISTED = ["a", "a-b", "a-b/c", "a.b", "a/b", "a/b-c", "a/b.c/d", "a/b/c", "a/b0", "a0", "A/z", "a_/x", "b/a", "z"]


async def filled(blobs: Blobs) -> Blobs:
    for key in reversed(LISTED):
        await blobs.put(key, b"x")
    return blobs


async def test_list_is_in_bytewise_order_of_the_whole_key(blobs: Blobs) -> None:
    await filled(blobs)
    assert await blobs.list("") == sorted(LISTED, key=str.encode)


@pytest.mark.parametrize(
    "prefix", ["a", "a/", "a/b", "a/b/", "a-", "A", "b/a", "b/ab", "zz", "a/b.c/", "/", "..", "../", "~"]
)
async def test_list_gives_exactly_the_keys_that_start_with_the_prefix(blobs: Blobs, prefix: str) -> None:
    await filled(blobs)
    assert await blobs.list(prefix) == sorted(key for key in LISTED if key.startswith(prefix))


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
@pytest.mark.parametrize("prefix", ["", "a/b"])
async def test_pages_behind_the_last_key_seen_show_every_key_once(blobs: Blobs, prefix: str, limit: int) -> None:
    await filled(blobs)
    seen: list[str] = []
    after = ""
    while page := await blobs.list(prefix, after=after, limit=limit):
        assert len(page) <= limit
        seen += page
        after = page[-1]
    assert seen == sorted(key for key in LISTED if key.startswith(prefix))


@pytest.mark.parametrize("after", ["a", "a-", "a/", "a/b", "a/b/", "a/b/c", "a/b/zz", "a/zz", "aa", "zz", "A"])
async def test_list_goes_on_behind_a_key_that_need_not_be_there(blobs: Blobs, after: str) -> None:
    await filled(blobs)
    assert await blobs.list("", after=after) == sorted(key for key in LISTED if key > after)


async def test_list_before_anything_was_stored_is_empty(blobs: Blobs) -> None:
    assert await blobs.list("") == []


# -- files only ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_ever_written_outside_the_folder(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "inside")
    for key in [*GOOD_KEYS, *BAD_KEYS]:
        try:
            await blobs.put(key, b"x")
        except Invalid:
            continue
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


async def test_files_and_folders_are_their_owners_only(tmp_path: Path) -> None:
    await FileBlobs(tmp_path / "blobs").put("a/b", b"x")
    for path in (tmp_path / "blobs").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_no_unfinished_file_is_left_behind(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    await asyncio.gather(*(blobs.put("one", b"x") for _ in range(8)))
    assert list((tmp_path / "blobs" / "~").iterdir()) == []


async def test_unfinished_file_of_a_crash_is_neither_listed_nor_found(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    await blobs.put("one", b"x")
    (tmp_path / "blobs" / "~" / "0123").write_bytes(b"half")
    assert await blobs.list("") == ["one"]


async def test_unfinished_folder_is_not_listed_even_with_a_finished_name_in_it(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    await blobs.put("one", b"x")
    (tmp_path / "blobs" / "~" / "=two").write_bytes(b"half")
    assert await blobs.list("") == ["one"]


async def test_content_then_its_name_are_synchronised_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(handle: int) -> None:
        synced = Path(os.readlink(f"/proc/self/fd/{handle}"))
        steps.append(f"sync {synced.relative_to(tmp_path)}" if synced.is_dir() else "sync content")
        fsync(handle)

    def noted_link(source: Path, target: Path) -> None:
        steps.append(f"name {target.relative_to(tmp_path)}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    blobs = FileBlobs(tmp_path / "blobs")
    await blobs.put("a/b", b"x")
    made = ["sync .", "sync blobs", "sync blobs"]
    assert steps == [*made, "sync content", "name blobs/a/=b", "sync blobs/a"]
    steps.clear()
    await blobs.put("a/b", b"again")
    assert steps == ["sync blobs/a"]


async def test_unusable_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file stands where the folder should be")
    with pytest.raises(StoreUnavailable):
        await FileBlobs(tmp_path / "blobs").put("a", b"x")
