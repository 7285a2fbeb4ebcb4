"""The nightly archive and the intake of files with their real steps."""

import json
from hashlib import sha256

import pytest

from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.store import Delete
from interlock.core.reconciliation.model import SIZE_MAX
from tests.scenarios.world import DAY, MINUTE
from tests.workflows.desk import Desk

# -- the ledger by night -----------------------------------------------------------------------------------------------


async def lose_a_journal(desk):
    key = next(key for key in desk.world.items if "/jrn/" in key.partition)
    await desk.world.store.commit([Delete(key, 1)])


async def night(desk, day, id="n1", tenant="ten_1"):
    execution = await desk.start("nightly_ledger_verification", {"tenant": tenant, "day": day}, id)
    return await desk.finished(execution)


async def test_sound_day_is_archived_with_its_report_and_only_its_own_journals():
    desk = Desk()
    yesterday = utc_day(desk.world.clock.now())
    await desk.world.sale(1000, key="a")
    await desk.world.sale(700, key="other", tenant="ten_2")
    await desk.world.run(DAY)
    await desk.world.sale(500, key="b")
    done = await night(desk, yesterday)
    assert done.output["status"] == "sound"
    assert done.output["report"]["journals"] == 3 and done.output["report"]["findings"] == []
    report, journals = done.output["archive"]["files"]
    folder = f"ledger/ten_1/{yesterday}/n1"
    assert (report["key"], journals["key"]) == (f"{folder}/report.json", f"{folder}/journals-0001.csv")
    content = await desk.blobs.get(journals["key"])
    assert (journals["sha256"], journals["bytes"]) == (sha256(content).hexdigest(), len(content))
    head, *lines = content.decode().splitlines()
    assert {line.split(",")[head.split(",").index("day")] for line in lines} == {yesterday}
    assert {line.split(",")[head.split(",").index("tenant")] for line in lines} == {"ten_1"}
    assert len(lines) == 2
    assert json.loads(await desk.blobs.get(report["key"])) == done.output["report"]


async def test_difference_is_archived_and_calls_a_person():
    desk = Desk()
    await desk.world.sale(1000)
    await desk.world.run(MINUTE)
    await lose_a_journal(desk)
    day = utc_day(desk.world.clock.now())
    done = await night(desk, day)
    assert done.output == {"status": "needs_attention", "tenant": "ten_1", "day": day, "why": "ledger_differs"}
    report = json.loads(await desk.blobs.get(f"ledger/ten_1/{day}/n1/report.json"))
    assert report["sound"] is False and "journal_missing" in {one["code"] for one in report["findings"]}
    assert "workflow.needs_attention" in desk.world.alarms()


async def test_findings_of_another_tenant_count_and_are_not_named():
    desk = Desk()
    await desk.world.sale(1000, tenant="ten_2")
    await desk.world.run(MINUTE)
    await lose_a_journal(desk)
    report = await desk.step("verify_ledger")
    assert (report["sound"], report["findings"]) == (False, [])
    assert report["findings_in_all"] > 0


async def test_archive_made_again_stays_as_it_was():
    desk = Desk()
    day = utc_day(desk.world.clock.now())
    await desk.world.sale(1000, key="a")
    first = await desk.step("archive_ledger", day=day, report={"sound": True})
    await desk.world.sale(1000, key="b")
    assert await desk.step("archive_ledger", day=day, report={"sound": False}) == first


# -- files -------------------------------------------------------------------------------------------------------------

CONTENT = b"batch,amount\n380,19.99\n"
HASH = sha256(CONTENT).hexdigest()


async def arrived(desk, name, content=CONTENT, *, tenant="ten_1", id=None, **fields):
    key = f"inbox/{tenant}/{name}"
    await desk.blobs.put(key, content)
    input = {"tenant": tenant, "key": key} | fields
    return (await desk.finished(await desk.start("file_intake", input, id or name))).output


def files_told(desk):
    return [event for event in desk.world.store._events if event.type == "file.received"]


async def test_file_is_kept_under_its_hash_and_announced_once():
    desk = Desk()
    assert await arrived(desk, "batch_380.csv") == {
        "status": "accepted",
        "sha256": HASH,
        "kept_at": f"files/ten_1/{HASH}",
    }
    assert await desk.blobs.get(f"files/ten_1/{HASH}") == CONTENT
    (event,) = files_told(desk)
    told = json.loads(bytes(event.data))["file"]
    assert (told["sha256"], told["name"], told["size"]) == (HASH, "batch_380.csv", len(CONTENT))
    assert (event.tenant, event.aggregate, event.version) == ("ten_1", told["id"], 1)


async def test_same_contents_by_another_name_are_a_duplicate_and_not_announced_again():
    desk = Desk()
    await arrived(desk, "batch_380.csv")
    again = await arrived(desk, "copy.csv")
    assert again == {"status": "duplicate", "sha256": HASH, "first_seen_as": "batch_380.csv"}
    third = await arrived(desk, "batch_380.csv", id="told-again")
    assert third["status"] == "duplicate"
    assert len(files_told(desk)) == 1


async def test_same_contents_of_another_tenant_are_theirs():
    desk = Desk()
    await arrived(desk, "batch.csv")
    other = await arrived(desk, "batch.csv", tenant="ten_2", id="other")
    assert (other["status"], other["kept_at"]) == ("accepted", f"files/ten_2/{HASH}")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "empty"),
        ("run.exe", CONTENT, "name_not_allowed"),
        (".hidden.csv", CONTENT, "name_not_allowed"),
        ("noending", CONTENT, "name_not_allowed"),
        ("large.csv", b"x" * (SIZE_MAX + 1), "too_large"),
    ],
)
async def test_file_that_may_not_come_in_is_put_aside_with_its_reason(name, content, reason):
    desk = Desk()
    done = await arrived(desk, name, content)
    place = f"quarantine/ten_1/{sha256(content).hexdigest()}/{name}"
    assert done == {"status": "quarantined", "reason": reason, "kept_at": place}
    assert await desk.blobs.get(place) == content
    assert files_told(desk) == []
    assert await desk.blobs.list("files/") == []
    fields = {"tenant": "ten_1", "path": f"inbox/ten_1/{name}", "reason": reason}
    assert ("warning", "file.quarantined", fields) in desk.world.telemetry.lines


async def test_file_known_to_be_too_large_is_never_read():
    desk = Desk()
    done = await arrived(desk, "large.csv", b"not really", size=SIZE_MAX + 1)
    assert done == {"status": "quarantined", "reason": "too_large", "kept_at": "inbox/ten_1/large.csv"}
    assert await desk.blobs.list("quarantine/") == []


@pytest.mark.parametrize("key", ["inbox/ten_2/theirs.csv", "files/ten_1/x.csv", "inbox/ten_1/../ten_2/x.csv"])
async def test_file_outside_the_tenants_inbox_is_not_touched(key):
    desk = Desk()
    done = await desk.finished(await desk.start("file_intake", {"key": key}))
    assert (done.output["status"], done.output["why"]) == ("needs_attention", "Invalid")


async def test_steps_run_again_find_their_own_traces():
    desk = Desk()
    await desk.blobs.put("inbox/ten_1/a.csv", CONTENT)
    file = await desk.step("inspect_file", key="inbox/ten_1/a.csv", size=None)
    given = {"key": "inbox/ten_1/a.csv", "file": file}
    for _ in range(3):
        kept = await desk.step("keep_file", **given)
        assert kept == {"duplicate": False, "first_seen_as": "a.csv", "kept_at": f"files/ten_1/{HASH}"}
        await desk.step("announce_file", **given)
        await desk.step("quarantine_file", **given)
    assert len(files_told(desk)) == 1


async def test_file_that_changed_since_it_was_looked_at_is_not_kept():
    desk = Desk()
    await desk.blobs.put("inbox/ten_1/a.csv", CONTENT)
    file = await desk.step("inspect_file", key="inbox/ten_1/a.csv", size=None)
    swapped = {"key": "inbox/ten_1/a.csv", "file": file | {"sha256": "0" * 64}}
    assert await desk.refusal("keep_file", **swapped) == "Invalid"
    assert await desk.blobs.list("files/") == []


# -- what steps refuse -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "given"),
    [
        ("look_up_payment", {"payment": "pay_1"}),
        ("look_up_payment", {"payment": "pay_" + "0" * 26, "more": 1}),
        ("capture_payment", {"payment": "pay_" + "0" * 26, "amount": 0}),
        ("capture_payment", {"payment": "pay_" + "0" * 26, "amount": "1"}),
        ("refund_item", {"item": 200, "refund": {"payment": "pay_" + "0" * 26}}),
        ("close_bulk_refund", {"outcome": "maybe", "decided_by": None, "results": []}),
        ("archive_ledger", {"day": "2026-11-27/..", "report": {}}),
        ("verify_ledger", {"tenant": "a/b"}),
        ("inspect_file", {"key": ""}),
        ("keep_file", {"key": "inbox/ten_1/a.csv", "file": None}),
        ("verify_ledger", {"execution": "a b"}),
    ],
)
async def test_step_refuses_a_malformed_input_by_name(step, given):
    assert await Desk().refusal(step, **given) == "Invalid"


async def test_what_is_not_there_is_rejected_by_name():
    desk = Desk()
    assert await desk.refusal("look_up_payment", payment="pay_" + "0" * 26) == "Rejected"
    assert await desk.refusal("inspect_file", key="inbox/ten_1/none.csv") == "Rejected"
    desk.world.fail("unavailable", when="store.get")
    assert await desk.refusal("look_up_payment", payment="pay_" + "0" * 26) == "Unavailable"
