"""Lists: pages in both directions."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from interlock.core.kernel.documents import Document
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.ids import format_id
from interlock.entrypoints.http.pagination import ListQuery, check_cursors, find_page, page_of

IDS = [format_id("pay", 1_000 + n, n) for n in range(10)]
NEWEST_FIRST = IDS[::-1]


class Shelf:
    """Just enough of `Documents`."""

    async def find(self, collection, *, tenant, where, id_from, after, before, limit):
        assert (collection, tenant, where) == ("payments", "ten_1", {"status": "paid"})
        found = [one for one in NEWEST_FIRST if one >= id_from and (after is None or one < after)]
        if before is not None:
            found = [one for one in found if one > before][-limit:]
        return [Document(one, tenant, 1, {}, b'{"id":"%s"}' % one.encode()) for one in found[:limit]]


async def _find(query: ListQuery, since=None):
    answer = await find_page(
        Shelf(), "payments", "ten_1", query, {"status": "paid", "customer": None}, prefix="pay", since=since
    )
    page = msgspec.json.decode(msgspec.json.encode(answer.body))
    return [item["id"] for item in page["data"]], page["has_more"], page["next"]


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 9, 10, 11, 100])
async def test_following_next_shows_every_item_once_newest_first(limit):
    seen, cursor, more = [], None, True
    while more:
        items, more, cursor = await _find(ListQuery(limit=limit, after=cursor))
        seen += items
        assert (cursor is not None) == more
    assert seen == NEWEST_FIRST


@pytest.mark.parametrize("limit", [1, 3, 4, 9, 100])
async def test_following_next_upwards_shows_every_newer_item_once(limit):
    seen, cursor, more = [], IDS[0], True
    while more:
        items, more, cursor = await _find(ListQuery(limit=limit, before=cursor))
        assert items == sorted(items, reverse=True)
        seen = items + seen
    assert seen == NEWEST_FIRST[:-1]


async def test_after_wins_over_before():
    assert await _find(ListQuery(limit=2, after=IDS[5], before=IDS[1])) == ([IDS[4], IDS[3]], True, IDS[3])


@pytest.mark.parametrize("since", ["1970-01-01T00:00:01.006Z", datetime(1970, 1, 1, 0, 0, 1, 6_000, UTC)])
async def test_since_shows_only_what_was_created_after_it(since):
    items, _, _ = await _find(ListQuery(), since=since)
    assert items == NEWEST_FIRST[:3]


@pytest.mark.parametrize("since", ["1899-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_since_at_the_edges_of_time_is_no_error(since):
    items, _, _ = await _find(ListQuery(), since=since)
    assert items == (NEWEST_FIRST if since < "1970" else [])


@pytest.mark.parametrize("since", ["yesterday", "", "2026-11-21T08:00:00", "2026-13-01T00:00:00Z"])
async def test_since_that_is_no_time_is_refused(since):
    with pytest.raises(Invalid) as caught:
        await _find(ListQuery(), since=since)
    assert caught.value.faults[0].pointer == "/query/created_after"


def test_empty_list_has_no_next():
    page = page_of([], ListQuery(), cursor_of=str)
    assert (page.data, page.has_more, page.next) == ([], False, None)


def test_cursor_of_another_kind_is_refused_by_a_list_that_insists():
    check_cursors(ListQuery(after=IDS[0]), "pay")
    with pytest.raises(Invalid):
        check_cursors(ListQuery(before=IDS[0]), "ref")
