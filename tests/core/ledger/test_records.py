from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given

from interlock.core.kernel.clock import DAY
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.events import decode_event, encode_event
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.store import Item
from interlock.core.ledger.records import (
    SHARDS,
    day_of,
    decode_journal,
    encode_journal,
    journal_of,
    journal_write,
    raw_journal_of,
    shard_of,
    stored_journal,
)
from tests.core.ledger.books import T0, bare_event, event_of, journal_lists, make, memory, unhurried


@unhurried
@given(journal_lists(10))
def test_journal_comes_back_from_its_item_and_from_its_event(journals):
    for journal in journals:
        put = journal_write(journal)
        stored = stored_journal(Item(put.key, 1, put.value, {}, None))
        assert stored.journal == journal and stored.is_intact
        event = decode_event(encode_event(event_of(journal)))
        assert journal_of(event) == journal
        assert raw_journal_of(event) == stored.raw == encode_journal(journal)


def test_journal_is_small():
    assert len(encode_journal(make())) < 300


def test_journal_stands_under_tenant_day_and_the_shard_of_its_payment():
    journal = make(at=T0)
    put = journal_write(journal)
    assert put.key == (f"ten_a/jrn/2027-01-15/{shard_of(journal.payment):x}", journal.id)
    assert put.expected == 0 and put.expires_at is None


def test_payments_spread_evenly_over_the_shards():
    counts = Counter(shard_of(format_id("pay", T0 + n, n * 7919)) for n in range(16_000))
    assert len(counts) == SHARDS
    assert max(counts.values()) < 1.25 * 1000


def test_day_ends_at_midnight_utc():
    midnight = T0 // DAY * DAY
    assert day_of(midnight - 1) == "2027-01-14"
    assert day_of(midnight) == day_of(midnight + DAY - 1) == "2027-01-15"


async def test_journal_id_used_twice_is_refused_and_the_first_stays():
    store = memory()
    await store.commit([journal_write(make(1, amount=5))])
    with pytest.raises(WriteConflict):
        await store.commit([journal_write(make(1, amount=6))])
    item = await store.get(journal_write(make(1)).key)
    assert stored_journal(item).journal == make(1, amount=5)


def test_event_without_a_journal_has_none():
    assert journal_of(bare_event()) is None
    aloud = msgspec.structs.replace(
        bare_event(), facts=msgspec.Raw(b'{"detail":"no \\"journal\\" here","journal":null}')
    )
    assert journal_of(aloud) is None


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b"nonsense", b'{"id":1}', encode_journal(make()).replace(b"1999", b"19.5")]
)
def test_text_that_is_no_journal_is_a_value_error(raw):
    with pytest.raises(ValueError):
        decode_journal(raw)


def test_wrong_digest_is_seen():
    put = journal_write(make())
    changed = put.value.replace(b"1999", b"2999")
    assert not stored_journal(Item(put.key, 1, changed, {}, None)).is_intact
