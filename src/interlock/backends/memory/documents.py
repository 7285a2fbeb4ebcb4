"""Documents in dicts, one sorted list of ids per tenant."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from interlock.core.kernel.documents import Collection, Document, Scalar, Tally


class _Tenant:
    def __init__(self) -> None:
        self.ids: list[str] = []
        self.documents: dict[str, Document] = {}


class MemoryDocuments:
    def __init__(self, collections: Sequence[Collection]) -> None:
        self._fields = {one.name: frozenset((*one.fields, *one.counted)) for one in collections}
        self._tenants: dict[str, dict[str, _Tenant]] = {collection.name: {} for collection in collections}

    async def upsert(self, collection: str, documents: Sequence[Document]) -> None:
        tenants = self._tenants[collection]
        for document in documents:
            self._check_declared(collection, document.fields)
        for document in documents:
            tenant = tenants.setdefault(document.tenant, _Tenant())
            standing = tenant.documents.get(document.id)
            if standing is None:
                insort(tenant.ids, document.id)
            elif standing.version >= document.version:
                continue
            tenant.documents[document.id] = document._replace(fields=dict(document.fields))

    async def get(self, collection: str, document_id: str, *, tenant: str) -> Document | None:
        kept = self._tenants[collection].get(tenant)
        return None if kept is None else kept.documents.get(document_id)

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
        where = where or {}
        self._check_declared(collection, where)
        kept = self._tenants[collection].get(tenant, _Tenant())
        start = bisect_left(kept.ids, id_from)
        if before is not None:
            start = max(start, bisect_right(kept.ids, before))
        end = len(kept.ids) if after is None else bisect_left(kept.ids, after)
        nearest_first = range(start, end) if before is not None else range(end - 1, start - 1, -1)
        matching = (
            document
            for document in (kept.documents[kept.ids[at]] for at in nearest_first)
            if all(document.fields.get(field) == value for field, value in where.items())
        )
        found = list(islice(matching, limit))
        return found[::-1] if before is not None else found

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
        where = where or {}
        self._check_declared(collection, [*by, *sums, *where])
        kept = self._tenants[collection].get(tenant, _Tenant())
        counted: dict[tuple[Scalar | None, ...], list[int]] = {}
        for at in range(bisect_left(kept.ids, id_from), bisect_left(kept.ids, id_before)):
            fields = kept.documents[kept.ids[at]].fields
            if any(fields.get(field) != value for field, value in where.items()):
                continue
            row = counted.setdefault(tuple(fields.get(field) for field in by), [0] * (1 + len(sums)))
            row[0] += 1
            for place, field in enumerate(sums, 1):
                row[place] += int(fields.get(field, 0))
        return [Tally(values, row[0], tuple(row[1:])) for values, row in counted.items()]

    def _check_declared(self, collection: str, fields: Iterable[str]) -> None:
        for field in fields:
            if field not in self._fields[collection]:
                raise KeyError(f"{collection}.{field}")
