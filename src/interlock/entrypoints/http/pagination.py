"""Lists: the parameters every one takes and the answer every one gives.

A cursor is the id of the item at the edge of a page; callers must treat it as opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
Cursor = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of every list. A list with filters adds its own fields in a subclass."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="Items in one answer.")] = LIMIT_DEFAULT
    after: Annotated[Cursor | None, Meta(description="`next` of the answer whose older items follow. Opaque.")] = None
    before: Annotated[
        Cursor | None, Meta(description="Items newer than this one, still newest first; not along with `after`.")
    ] = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list, newest first."""

    data: list[T]
    has_more: bool
    """Whether there are more in the direction asked for: older ones, or with `before` newer ones."""
    next: str | None
    """Give it back in the parameter used (`after` if none was) to go on."""


def check_cursors(query: ListQuery, prefix: str) -> None:
    """Raises Invalid if both directions are asked for or a cursor is not of this list."""
    if query.after is not None and query.before is not None:
        raise _fault("before", "contradiction", "`after` and `before` exclude each other")
    for name, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None and not is_id(cursor, prefix):
            raise _fault(name, "bad_cursor", "this cursor does not come from this list")


def page_of(found: Sequence[T], query: ListQuery, *, cursor_of: Callable[[T], str]) -> Page[T]:
    """The page out of up to `limit + 1` items found, newest first: ask for one more than `limit` to know if there are more."""
    more = len(found) > query.limit
    if query.before is None:
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
    since: str | None = None,
) -> Answer:
    """One page of a collection whose documents are the items; `prefix` is that of their ids.

    A filter that is None is not applied. `since` is an RFC 3339 time: only what was created after it. Raises Invalid.
    """
    check_cursors(query, prefix)
    found = await documents.find(
        collection,
        tenant=tenant,
        where={name: value for name, value in where.items() if value is not None},
        id_from="" if since is None else format_id(prefix, _after(since), 0),
        after=query.after,
        before=query.before,
        limit=query.limit + 1,
    )
    page = page_of(found, query, cursor_of=lambda document: document.id)
    return Answer(200, Page([msgspec.Raw(document.body) for document in page.data], page.has_more, page.next))


def _after(since: str) -> int:
    try:
        at = parse_rfc3339(since)
    except (ValueError, OverflowError):
        raise _fault("created_after", "bad_format", "an RFC 3339 time, such as 2026-11-21T08:00:00Z") from None
    return min(max(at + 1, 0), ID_TIME_END - 1)


def _fault(parameter: str, code: str, detail: str) -> Invalid:
    return Invalid(faults=(Fault(f"/query/{parameter}", code, detail),))
