"""The Documents port: read models shaped for search. Always rebuildable from events, never the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

Scalar = str | int | bool


class Collection(NamedTuple):
    """A kind of document. `fields` are those that `find` may filter by, beside the tenant."""

    name: str
    fields: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    """More fields, which `tally` counts and sums by, like the others, and nobody searches by."""


class Document(NamedTuple):
    id: str
    """Time-ordered: lists are ordered by it. A tenant's own: the same id of another tenant is another document."""
    tenant: str
    version: int
    fields: Mapping[str, Scalar]
    """Values of the collection's fields; one that is missing never matches a filter."""
    body: bytes
    """JSON."""


class Documents(Protocol):
    """Raises StoreUnavailable when it cannot be reached; an undeclared collection or field is a KeyError."""

    async def upsert(self, collection: str, documents: Sequence[Document]) -> None:
        """Write each document unless one of that id with the same or a higher version is there.

        So events may arrive twice and in any order. Durable when it returns.
        """

    async def get(self, collection: str, document_id: str, *, tenant: str) -> Document | None:
        """The document, or None, also when it is another tenant's."""

    async def find(
        self,
        collection: str,
        *,
        tenant: str,
        where: Mapping[str, Scalar] | None = None,
        id_from: str = "",
        after: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """Documents whose fields equal all of `where` and whose id is at least `id_from`, newest first.

        `after` is the id of the last one already seen (older ones follow); `before` the id of the first one seen (the
        ones just newer follow, still newest first).
        """


class Tally(NamedTuple):
    """How many documents have the same values."""

    values: tuple[Scalar | None, ...]
    """In the order asked for; None stands for a field that is missing."""
    number: int
    sums: tuple[int, ...]


class Tallies(Protocol):
    """An optional ability of Documents: counting without reading what is counted."""

    async def tally(
        self,
        collection: str,
        *,
        tenant: str,
        by: Sequence[str],
        sums: Sequence[str] = (),
        where: Mapping[str, Scalar] | None = None,
        id_from: str = "",
        id_before: str = "~",
    ) -> list[Tally]:
        """Count documents by the values of the fields `by`, and add up the whole numbers in `sums`; in no order.

        Of those whose fields equal all of `where` and whose id is at least `id_from` and below `id_before`. A document
        without a field of `sums` adds nothing to it. Takes as long as the range is large. Raises as `find` does.
        """
