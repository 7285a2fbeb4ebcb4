"""The Store port: everything durable that must change together.

Its rules are those of the narrowest store we run on (a key-value store with conditional transactions): items of at
most 400 kB, at most 25 writes in one commit, queries within one partition, indexes that hold only the items which
ask to be in them, and no scans. An index is declared where the store is made, as a key-value store must know it from then on;
one that is not declared is Invalid there, and works in the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.events import Event, encode_event

WRITES_MAX = 25
"""Writes and events of one commit, counted together."""
VALUE_BYTES_MAX = 400_000
KEY_BYTES_MAX = 1_024
LIMIT_MAX = 1_000
ABSENT = 0
"""As `expected`: the item must not be there."""


class Key(NamedTuple):
    """An item's address. Items of one `partition` are queried together, ordered by `sort` (bytewise).

    Each part is 1 to 1024 bytes of UTF-8 without NUL; anything else is Invalid, here and as a place in an index.
    """

    partition: str
    sort: str


class Item(NamedTuple):
    key: Key
    version: int
    """1 when first written, one more with each write."""
    value: bytes
    indexes: Mapping[str, Key]
    """Index name -> the key under which this item stands in that index."""
    expires_at: Millis | None


class Put(NamedTuple):
    """Write `value` at `key` if the item's version is `expected`; its version becomes `expected + 1`."""

    key: Key
    value: bytes
    expected: int = ABSENT
    indexes: Mapping[str, Key] = {}
    """Replaces the item's index entries: an index not named here no longer holds the item."""
    expires_at: Millis | None = None
    """After this the store may drop the item, some time later; readers must check for themselves."""


class Delete(NamedTuple):
    key: Key
    expected: int


class Check(NamedTuple):
    """Nothing is written; the commit fails unless the item's version is `expected`."""

    key: Key
    expected: int


Write = Put | Delete | Check


class Page(NamedTuple):
    items: list[Item]
    next: str | None
    """Give it back as `after` for the following items; None when there are none."""


class Store(Protocol):
    """Get, query and commit. Raises StoreUnavailable whenever the store cannot be reached, is full or throttles."""

    async def get(self, key: Key) -> Item | None:
        """The item as of the latest commit that returned before this call began (strongly consistent)."""

    async def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        """Items of a partition whose sort key starts with `prefix`, ordered by sort key; strongly consistent.

        `after` is the `next` of an earlier page, or a sort key to start behind. `limit` is 1 to 1000.
        """

    async def query_index(
        self,
        index: str,
        partition: str,
        *,
        upto: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        """Items that stand under `partition` in `index`, ordered by their sort key there, up to and including `upto`.

        `after` is the `next` of an earlier page, or a sort key of the index to start behind. `limit` is 1 to 1000.
        May lag behind commits: re-read with `get` before acting on what it says.
        """

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        """Apply every write and record every event, or nothing.

        Durable when it returns. Events join their aggregate's history and the Feed in the order of commits. A key may
        appear once among the writes, and (aggregate, version) of an event must be new: both guard against double work.

        Raises WriteConflict naming the first write whose condition failed (or ("event", aggregate) for an event
        whose version is taken), or one that met another transaction in passing, so that nothing but a read tells what is there;
        Invalid for no writes and events, more than 25 of both together, a repeated key or an
        oversized value, StoreUnavailable if nothing was written, OutcomeUnknown if that cannot be told.
        """

    async def history(self, aggregate: str, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
        """Events of one aggregate in order of version; strongly consistent; empty for an unknown aggregate.

        `limit` is 1 to 1000. Fewer than that are all there are.
        """


async def whole_history(store: Store, aggregate: str) -> list[Event]:
    """Every event of one aggregate in order of version. Raises StoreUnavailable."""
    events = await store.history(aggregate, limit=LIMIT_MAX)
    page = events
    while len(page) == LIMIT_MAX:
        page = await store.history(aggregate, after_version=page[-1].version, limit=LIMIT_MAX)
        events = [*events, *page]
    return events


class DropsExpired(Protocol):
    """Optional ability, of stores that do not drop expired items by themselves."""

    async def drop_expired(self, *, now: Millis, limit: int = 500) -> int:
        """Drop up to `limit` items whose time is over; how many there were."""


# What every adapter refuses, before anything else.


def check_writes(writes: Sequence[Write], events: int) -> None:
    """Of a commit with so many events. Raises Invalid."""
    count = len(writes) + events
    if not 1 <= count <= WRITES_MAX:
        raise Invalid(f"a commit has 1 to {WRITES_MAX} writes and events, not {count}")
    for write in writes:
        check_key(write.key)
        if type(write) is Put:
            if len(write.value) > VALUE_BYTES_MAX:
                raise Invalid(f"a value has {len(write.value)} bytes; {VALUE_BYTES_MAX} is the most")
            for name, place in write.indexes.items():
                check_texts(name)
                check_key(place)
    if len(writes) > 1 and len({write.key for write in writes}) != len(writes):
        raise Invalid("a key appears twice among the writes")


def checked_body(event: Event) -> bytes:
    """The event as it is kept. Raises Invalid if it cannot be."""
    check_texts(event.aggregate)
    try:
        body = encode_event(event)
    except UnicodeEncodeError as error:
        raise Invalid(f"event {event.type} holds text that is not Unicode") from error
    if len(body) > VALUE_BYTES_MAX:
        raise Invalid(f"event {event.type} has {len(body)} bytes; {VALUE_BYTES_MAX} is the most")
    return body


def check_key(key: Key) -> None:
    """Raises Invalid."""
    for text in key:
        if text.isascii() and 0 < len(text) <= KEY_BYTES_MAX and "\0" not in text:
            continue
        check_texts(text)
        if not 0 < len(text.encode()) <= KEY_BYTES_MAX or "\0" in text:
            raise Invalid(f"each part of a key has 1 to {KEY_BYTES_MAX} bytes and no NUL")


def check_texts(*texts: str) -> None:
    """Parts of a key, or of what is asked for. Raises Invalid."""
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise Invalid("a key is not Unicode text") from error


def check_limit(limit: int) -> None:
    """Raises Invalid."""
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(f"limit is 1 to {LIMIT_MAX}, not {limit}")
