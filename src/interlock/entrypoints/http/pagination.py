"""Lists: the parameters every one takes and the answer every one gives.

A cursor is the id of the item at the edge of a page; callers must treat it as opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from interlock.core.kernel.clock import parse_rfc3339
from interlock.core.kernel.documents import Documents, Scalar
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.ids import format_id, is_id
from interlock.entrypoints.http.routing import Answer

T = TypeVar("T")
LIMIT_DEFAULT = 20
LIMIT_MAX = 100
ID_TIME_END = 1 << 48
"""The first instant that does not fit into an id."""
Cursor = Annotated[str, Meta(pattern=r"^[a-z]{2,3}_[0-9a-hjkmnp-tv-z]{26}\Z")]
Instant = Annotated[datetime, Meta(tz=True)]
"""A query parameter that is an RFC 3339 time."""


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of every list. A list with filters adds its own fields in a subclass."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="Items in one answer.")] = LIMIT_DEFAULT
    after: Annotated[Cursor | None, Meta(description="`next` of the answer whose older items follow. Opaque.")] = None
    before: Annotated[
        Cursor | None, Meta(description="Items newer than this one, still newest first. Ignored along with `after`.")
    ] = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list, newest first."""

    data: list[T]
    has_more: bool
    """Whether there are more in the direction asked for: older ones, or with `before` newer ones."""
    next: str | None
    """Give it back in the parameter used (`after` if none was) to go on."""


def check_cursors(query: ListQuery, prefix: str) -> None:
    """For a list that can go on from its own ids only. Raises Invalid for a cursor of another kind."""
    for name, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None and not is_id(cursor, prefix):
            detail = "this cursor does not come from this list"
            raise Invalid(faults=(Fault(f"/query/{name}", "bad_cursor", detail),))


def page_of(found: Sequence[T], query: ListQuery, *, cursor_of: Callable[[T], str]) -> Page[T]:
    """The page out of up to `limit + 1` items found, newest first: ask for one more than `limit` to know if there are more."""
    more = len(found) > query.limit
    if query.before is None or query.after is not None:
        page = list(found[: query.limit])
        return Page(page, more, cursor_of(page[-1]) if more else None)
    page = list(found[1:] if more else found)
    return Page(page, more, cursor_of(page[0]) if more else None)


async def find_page(
    documents: Documents,
    collection: str,
    tenant: str,
    query: ListQuery,
    where: Mapping[str, Scalar | None],
    *,
    prefix: str,
    since: str | datetime | None = None,
) -> Answer:
    """One page of a collection whose documents are the items; `prefix` is that of their ids.

    A filter that is None is not applied. `since`: only what was created after it; Invalid if it is text and not RFC 3339.
    """
    found = await documents.find(
        collection,
        tenant=tenant,
        where={name: value for name, value in where.items() if value is not None},
        id_from="" if since is None else format_id(prefix, _after(since), 0),
        after=query.after,
        before=query.before if query.after is None else None,
        limit=query.limit + 1,
    )
    page = page_of(found, query, cursor_of=lambda document: document.id)
    return Answer(200, Page([msgspec.Raw(document.body) for document in page.data], page.has_more, page.next))


def _after(since: str | datetime) -> int:
    """The first millisecond behind `since`, within what an id can say."""
    try:
        at = parse_rfc3339(since if isinstance(since, str) else since.isoformat())
    except (ValueError, OverflowError):
        detail = "an RFC 3339 time, such as 2026-11-21T08:00:00Z"
        raise Invalid(faults=(Fault("/query/created_after", "bad_format", detail),)) from None
    return min(max(at + 1, 0), ID_TIME_END - 1)
