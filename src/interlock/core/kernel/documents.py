"""The Documents port: read models shaped for search. Always rebuildable from events, never the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

Scalar = str | int | bool


class Collection(NamedTuple):
    """A kind of document. `fields` are those that `find` may filter by, beside the tenant."""

    name: str
    fields: tuple[str, ...] = ()


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
