from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.clock import DAY
from interlock.core.kernel.feed import FeedRecord
from interlock.core.kernel.store import Delete, Key, Put
from interlock.core.ledger.model import Posting
from interlock.core.ledger.projection import day_key, fold, mark_key, month_key
from interlock.core.ledger.records import encode_journal, journal_key, journal_write
from interlock.core.ledger.totals import PaymentTotals
from interlock.core.ledger.verification import CODES, FINDINGS_MAX, Finding, journals_of_payment, verify
from tests.core.ledger.books import (
    T0,
    TENANT,
    bare_event,
    event_of,
    journal_lists,
    make,
    memory,
    overwrite,
    unhurried,
    write,
)

STORY = [
    make(1, "capture", 100, payment=1),
    make(2, "refund_reserved", 30, payment=1),
    make(3, "refund_succeeded", 30, payment=1, at=T0 + DAY),
    make(4, "capture", 1500, payment=2, currency="JPY"),
    make(5, "dispute_opened", 1500, payment=2, currency="JPY", excess=5, at=T0 + DAY),
    make(6, "capture", 1234, payment=3, currency="KWD", tenant="ten_b"),
]


async def written_and_folded(journals=STORY):
    store = memory()
    await fold(store, await write(store, journals))
    return store


async def findings(store):
    report = await verify(store, store)
    assert all(finding.code in CODES for finding in report.findings)
    return {(finding.code, finding.subject) for finding in report.findings}


async def test_sound_ledger_has_no_findings():
    store = await written_and_folded()
    await store.commit([], [bare_event(77)])
    report = await verify(store, store)
    assert report == (7, 6, 0, 0, (), 0)
    assert report.sound


@unhurried
@given(journal_lists(), st.integers(0, 40))
async def test_any_journals_committed_are_sound_however_far_the_balances_are(journals, counted):
    journals = [
        msgspec.structs.replace(journal, payment=f"{journal.payment[:-5]}{journal.tenant}") for journal in journals
    ]
    store = memory()
    events = await write(store, journals)
    await fold(store, events[:counted])
    report = await verify(store, store)
    assert report == (len(journals), len(journals), 0, len(events[counted:]), (), 0)


async def test_any_byte_changed_in_a_stored_journal_is_found():
    journal = STORY[1]
    value = journal_write(journal).value
    for place in range(len(value)):
        store = await written_and_folded()
        changed = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        await store.commit([Delete(journal_key(journal), 1)])
        await store.commit([Put(journal_key(journal), changed)])
        assert (await findings(store)) & {
            ("journal_altered", journal.id),
            ("journal_unreadable", journal.id),
        }, f"byte {place}"


async def test_any_byte_changed_in_the_event_s_copy_is_found():
    journal = STORY[1]
    raw = encode_journal(journal)
    for place in range(len(raw)):
        store = memory()
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        facts = bytes(event_of(journal).facts).replace(raw, changed)
        forged = msgspec.structs.replace(event_of(journal), facts=msgspec.Raw(facts))
        await store.commit([journal_write(journal)], [forged])
        assert await findings(store), f"byte {place}: {changed!r}"


async def test_journal_rewritten_with_its_digest_is_found_by_its_event():
    store = await written_and_folded()
    forged = msgspec.structs.replace(
        STORY[0], postings=(Posting("provider_receivable:simulator_a", 900), Posting("merchant_payable", -900))
    )
    await store.commit([Delete(journal_key(STORY[0]), 1)])
    await store.commit([journal_write(forged)])
    assert await findings(store) == {
        ("journal_differs", STORY[0].id),
        ("balance_wrong", "2027-01-15"),
        ("balance_wrong", "2027-01"),
    }


async def test_journal_written_again_with_the_same_content_is_found():
    store = await written_and_folded()
    await overwrite(store, journal_key(STORY[0]), journal_write(STORY[0]).value)
    assert await findings(store) == {("journal_altered", STORY[0].id)}


async def test_journal_that_would_expire_is_found():
    store = memory()
    await store.commit([journal_write(STORY[0])._replace(expires_at=T0 + 9 * DAY)], [event_of(STORY[0])])
    assert await findings(store) == {("journal_altered", STORY[0].id)}


async def test_unbalanced_journal_in_both_copies_is_found():
    store = memory()
    lopsided = msgspec.structs.replace(STORY[0], postings=(Posting("fees", 5), Posting("merchant_payable", -4)))
    await store.commit([journal_write(lopsided)], [event_of(lopsided)])
    assert await findings(store) == {("journal_unsound", STORY[0].id)}


async def test_balanced_journal_that_moves_other_accounts_than_its_kind_is_found():
    store = memory()
    stray = msgspec.structs.replace(STORY[0], postings=(Posting("fees", 5), Posting("merchant_payable", -5)))
    await store.commit([journal_write(stray)], [event_of(stray)])
    assert await findings(store) == {("journal_off_recipe", STORY[0].id)}


async def test_deleted_journal_is_found_missing():
    store = await written_and_folded()
    await store.commit([Delete(journal_key(STORY[3]), 1)])
    assert ("journal_missing", STORY[3].id) in await findings(store)
    assert ("mark_orphan", STORY[3].id) in await findings(store)


async def test_journal_without_an_event_is_found_as_an_orphan():
    store = await written_and_folded()
    slipped_in = make(9, payment=9)
    await store.commit([journal_write(slipped_in)])
    assert await findings(store) == {("journal_orphan", slipped_in.id)}


async def test_journal_in_another_partition_than_its_own_is_found():
    store = await written_and_folded()
    put = journal_write(make(9, payment=9))
    elsewhere = journal_key(STORY[0]).partition
    assert put.key.partition != elsewhere
    await store.commit([put._replace(key=Key(elsewhere, put.key.sort))])
    assert {code for code, subject in await findings(store)} == {"journal_misplaced", "journal_orphan"}


async def test_journal_carried_by_two_events_is_found():
    store = await written_and_folded()
    again = msgspec.structs.replace(event_of(STORY[0], 9), id="evt_again")
    await store.commit([], [again])
    assert await findings(store) == {("journal_repeated", STORY[0].id)}


async def test_event_with_a_journal_of_another_payment_is_found():
    store = memory()
    await store.commit([journal_write(STORY[0])], [msgspec.structs.replace(event_of(STORY[0]), aggregate="pay_other")])
    assert await findings(store) == {("journal_misplaced", STORY[0].id)}


@pytest.mark.parametrize("key_of", [day_key, month_key])
@pytest.mark.parametrize("sides", [[0], [1], [0, 1]])
@pytest.mark.parametrize("change", [1, -1])
async def test_sum_changed_by_one_unit_is_found_though_debits_may_still_equal_credits(key_of, sides, change):
    store = await written_and_folded()
    key = key_of(STORY[0], 0)
    item = await store.get(key)
    stored = msgspec.json.decode(item.value)
    for side in sides:
        stored["sums"]["EUR"]["merchant_payable"][side] += change
    await overwrite(store, key, msgspec.json.encode(stored))
    assert await findings(store) == {("balance_wrong", key.sort.split("/")[1])}


async def test_sums_that_cannot_be_read_are_found():
    store = await written_and_folded()
    await overwrite(store, day_key(STORY[0], 0), b"nonsense")
    report = await verify(store, store)
    assert ("2027-01-15", "the stored sums cannot be read") in {(f.subject, f.detail) for f in report.findings}


async def test_sums_deleted_are_found():
    store = await written_and_folded()
    await store.commit([Delete(month_key(STORY[0], 0), 1)])
    assert await findings(store) == {("balance_wrong", "2027-01")}


async def test_journal_counted_without_its_mark_is_found():
    store = await written_and_folded()
    await store.commit([Delete(mark_key(STORY[0]), 1)])
    assert ("balance_wrong", "2027-01-15") in await findings(store)


async def test_mark_without_its_journal_is_found():
    store = await written_and_folded()
    await store.commit([Put(mark_key(make(9, payment=9)), b"")])
    assert ("mark_orphan", make(9).id) in await findings(store)


async def test_traffic_and_consumers_at_work_while_verifying_are_no_finding():
    store = memory()
    backlog = [make(n, payment=n % 7, at=T0 + n * DAY // 5) for n in range(60)]
    pending = await write(store, backlog[:20])
    versions = dict.fromkeys(range(7), 100)

    class Busy:
        """Before each call another payment is committed, or some are counted."""

        turn = 20

        async def _traffic(self):
            self.turn += 1
            if self.turn < len(backlog) and self.turn % 2:
                versions[self.turn % 7] += 1
                event = event_of(backlog[self.turn], versions[self.turn % 7])
                await store.commit([journal_write(backlog[self.turn])], [event])
                pending.append(event)
            elif pending:
                await fold(store, [pending.pop(0)])

        def __getattr__(self, name):
            async def call(*args, **kwargs):
                await self._traffic()
                return await getattr(store, name)(*args, **kwargs)

            return call

    busy = Busy()
    assert (await verify(busy, busy)).findings == ()
    assert busy.turn > 60


async def test_event_delivered_twice_by_the_feed_is_no_finding():
    store = await written_and_folded()

    class Stuttering:
        async def read(self, *, after, limit=100):
            records = await store.read(after=after, limit=limit)
            return [FeedRecord(record.position, record.event) for record in records for _ in range(2)]

    assert (await verify(store, Stuttering())).findings == ()


async def test_each_payment_is_held_against_the_totals_of_its_journals():
    store = await written_and_folded()
    seen = {}

    async def check(events, totals):
        seen[events[0].aggregate] = ([event.version for event in events], totals)
        return [Finding("payment_differs", TENANT, events[0].aggregate, "so it says")] if totals.excess else []

    report = await verify(store, store, check_payment=check)
    one, two, three = (STORY[i].payment for i in (0, 3, 5))
    assert seen == {
        one: ([1, 2, 3], PaymentTotals("EUR", captured=100, refunded=30)),
        two: ([1, 2], PaymentTotals("JPY", captured=1500, disputed=1500, excess=5)),
        three: ([1], PaymentTotals("KWD", captured=1234)),
    }
    assert report.payments == 3
    assert report.findings == (Finding("payment_differs", TENANT, two, "so it says"),)
    assert not report.sound


async def test_findings_above_the_limit_are_counted():
    store = memory()
    lopsided = [
        msgspec.structs.replace(make(n), postings=(Posting("fees", 5), Posting("suspense", -4)))
        for n in range(FINDINGS_MAX + 3)
    ]
    await write(store, lopsided)
    report = await verify(store, store)
    assert (len(report.findings), report.more) == (FINDINGS_MAX, 3)


async def test_journals_of_a_payment_come_in_order():
    store = await written_and_folded()
    assert await journals_of_payment(store, STORY[0].payment) == STORY[:3]
