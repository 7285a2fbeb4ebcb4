"""A day's journals put away as files: whole lines, nothing of other days, and written once."""

import json
from hashlib import sha256

import msgspec
import pytest

from interlock.backends.memory.blobs import MemoryBlobs
from interlock.core.kernel.clock import DAY, utc_day
from interlock.core.kernel.errors import Invalid
from interlock.core.ledger import archive
from interlock.core.ledger.archive import archive_day
from interlock.core.ledger.export import Format, export
from tests.core.ledger.books import T0, bare_event, make, memory, write

REPORT = {"sound": True}
TODAY = utc_day(T0)
JOURNALS = [make(n, at=T0 + (n % 3 - 1) * DAY, tenant=f"ten_{'ab'[n % 2]}") for n in range(60)]


async def archived(blobs, store, *, day=TODAY, tenant="ten_a", name="night"):
    return await archive_day(store, blobs, tenant=tenant, day=day, name=name, report=REPORT)


async def books():
    store = memory()
    await write(store, JOURNALS)
    return store


async def test_files_hold_the_report_and_the_days_journals_of_the_tenant():
    blobs, store = MemoryBlobs(), await books()
    report, journals = await archived(blobs, store)
    assert (report.key, journals.key) == (
        f"ledger/ten_a/{TODAY}/night/report.json",
        f"ledger/ten_a/{TODAY}/night/journals-0001.csv",
    )
    assert json.loads(await blobs.get(report.key)) == REPORT
    content = await blobs.get(journals.key)
    whole = "".join([piece async for piece in export(store, Format.CSV, tenant="ten_a", day=TODAY)])
    assert content.decode() == whole
    named = {line.split(",")[0] for line in whole.splitlines()[1:]}
    assert named == {one.id for one in JOURNALS if one.tenant == "ten_a" and utc_day(one.at) == TODAY}
    assert (journals.sha256, journals.bytes) == (sha256(content).hexdigest(), len(content))


async def test_long_day_is_several_files_of_whole_lines(monkeypatch):
    monkeypatch.setattr(archive, "PART_BYTES", 1_000)
    blobs, store = MemoryBlobs(), await books()
    _, *parts = await archived(blobs, store)
    assert [part.key[-8:] for part in parts] == [f"{n:04d}.csv" for n in range(1, len(parts) + 1)]
    contents = [(await blobs.get(part.key)).decode() for part in parts]
    assert len(parts) > 2 and all(len(content) <= 1_000 and content.endswith("\n") for content in contents)
    assert "".join(contents) == "".join([piece async for piece in export(store, Format.CSV, tenant="ten_a", day=TODAY)])


async def test_day_without_journals_is_a_file_with_its_head():
    _, journals = await archived(MemoryBlobs(), await books(), day="2020-01-01")
    assert journals.bytes > 0


async def test_archive_made_again_under_its_name_changes_nothing_and_another_name_is_another():
    blobs, store = MemoryBlobs(), await books()
    first = await archived(blobs, store)
    await write(store, [make(1_000, tenant="ten_a")])
    assert await archived(blobs, store) == first
    again = await archived(blobs, store, name="by-hand")
    assert again[1].sha256 != first[1].sha256


async def test_report_is_there_also_when_a_journal_cannot_be_exported():
    blobs, store = MemoryBlobs(), await books()
    broken = msgspec.structs.replace(bare_event(), tenant="ten_a", facts=msgspec.Raw(b'{"journal":{"id":1}}'))
    await store.commit([], [msgspec.structs.replace(broken, aggregate="pay_broken")])
    with pytest.raises(ValueError):
        await archived(blobs, store)
    assert await blobs.list("ledger/") == [f"ledger/ten_a/{TODAY}/night/report.json"]


@pytest.mark.parametrize("name", ["", "..", "a b", "x" * 300])
async def test_name_that_is_no_part_of_a_key_is_invalid(name):
    blobs = MemoryBlobs()
    with pytest.raises(Invalid):
        await archived(blobs, await books(), name=name)
    assert await blobs.list("") == []
