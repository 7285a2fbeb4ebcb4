"""The Documents port through the MongoDB protocol. `rows.py` says how a document stands there, `calls.py` what failures mean.

A document is replaced on condition that its version is lower. Where nothing matches, the server tries to insert one and meets
the `_id` that is there: either it is as new, or somebody has just written an older one, so those are asked about once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, ReplaceOne
from pymongo.errors import BulkWriteError, OperationFailure

from interlock.backends.mongo.calls import (
    ANSWER_MS,
    DUPLICATE_KEY,
    INDEX_IN_THE_MAKING,
    Calls,
    codes_of,
    open_client,
)
from interlock.backends.mongo.rows import (
    check,
    check_names,
    document_of,
    indexes,
    newest,
    row_id,
    row_of,
    tallies,
    tally_steps,
    where_of,
)
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.documents import Collection, Document, Documents, Scalar, Tally
from interlock.core.kernel.secrets import Secret

TALLY_MS = 20_000
"""Counting takes as long as its range is large, and nobody's payment waits for it."""
AT_ONCE = 500
"""Documents of one write."""


class MongoDocuments:
    def __init__(
        self,
        uri: Secret | Callable[[], Awaitable[Secret]],
        collections: Sequence[Collection],
        *,
        clock: Clock,
        random: Callable[[], float],
        database: str = "interlock",
        ca_file: str = "",
    ) -> None:
        """`uri` is mongodb://..., with user and password; `ca_file` the authorities of the server's certificate.

        `random` gives numbers in [0, 1). Connects to nothing, and asks for no `uri`, until it is asked for something.
        """
        for collection in collections:
            check_names(collection)
        self._uri, self._database, self._ca_file = uri, database, ca_file
        self._fields = {collection.name: tuple(collection.fields) for collection in collections}
        self._counted = {collection.name: tuple(collection.counted) for collection in collections}
        self._calls = Calls(clock=clock, random=random)
        self._client: AsyncMongoClient[Any] | None = None
        self._indexed: set[str] = set()
        self._indexing = asyncio.Lock()

    async def upsert(self, collection: str, documents: Sequence[Document]) -> None:
        for document in documents:
            self._check_declared(collection, document.fields)
        for document in documents:
            check(document)
        rows = await self._rows(collection)
        wanted = newest(documents)
        for start in range(0, len(wanted), AT_ONCE):
            batch = wanted[start : start + AT_ONCE]
            await self._have_indexes(collection)
            await self._calls.run(partial(replace_older, rows, batch))

    async def get(self, collection: str, document_id: str, *, tenant: str) -> Document | None:
        rows, wanted = await self._rows(collection), {"_id": row_id(tenant, document_id)}
        row = await self._calls.run(lambda: rows.find_one(wanted, max_time_ms=ANSWER_MS))
        return None if row is None else document_of(row)

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
        self._check_declared(collection, where or {})
        rows = await self._rows(collection)
        if limit < 1:  # which the protocol takes for "all"
            return []
        wanted = where_of(tenant=tenant, where=where or {}, id_from=id_from, after=after, before=before)
        order = DESCENDING if before is None else ASCENDING

        async def call() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = await (
                rows.find(wanted, limit=limit, batch_size=limit, max_time_ms=ANSWER_MS).sort("i", order).to_list()
            )
            return found

        found = [document_of(row) for row in await self._calls.run(call)]
        return found if before is None else found[::-1]

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
        self._check_declared(collection, [*by, *sums, *(where or {})])
        rows = await self._rows(collection)
        wanted = where_of(tenant=tenant, where=where or {}, id_from=id_from, after=id_before, before=None)
        steps = tally_steps(wanted, (*by, *sums))

        async def call() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = await (await rows.aggregate(steps, maxTimeMS=TALLY_MS)).to_list()
            return found

        return tallies(await self._calls.run(call), by, sums)

    async def close(self) -> None:
        """Safe to repeat."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _have_indexes(self, collection: str) -> None:
        """Once for each collection and process; nothing happens where they are."""
        if collection in self._indexed:
            return
        async with self._indexing:
            if collection not in self._indexed and await self._calls.run(lambda: self._make_indexes(collection)):
                self._indexed.add(collection)

    async def _make_indexes(self, collection: str) -> bool:
        """One by one, as DocumentDB wants it. False: another process is at it."""
        rows = await self._rows(collection)
        for index in indexes(self._fields[collection]):
            try:
                await rows.create_indexes([index])
            except OperationFailure as error:
                if INDEX_IN_THE_MAKING not in codes_of(error):
                    raise
                return False
        return True

    async def _rows(self, collection: str) -> Any:
        if collection not in self._fields:
            raise KeyError(collection)
        if self._client is None:
            uri = self._uri if isinstance(self._uri, Secret) else await self._uri()
            self._client = self._client or open_client(uri, ca_file=self._ca_file)
        return self._client[self._database][collection]

    def _check_declared(self, collection: str, fields: Iterable[str]) -> None:
        for field in fields:
            if field not in self._fields[collection] and field not in self._counted[collection]:
                raise KeyError(f"{collection}.{field}")


async def replace_older(rows: Any, documents: Sequence[Document]) -> None:
    """Write each of these, no id twice among them, unless one of that id as new or newer is there."""
    try:
        await rows.bulk_write([_replacing(one, upsert=True) for one in documents], ordered=False)
    except BulkWriteError as error:
        if error.details.get("writeConcernErrors") or codes_of(error) != {DUPLICATE_KEY}:
            raise
        met = [documents[refused["index"]] for refused in error.details["writeErrors"]]
        await rows.bulk_write([_replacing(one, upsert=False) for one in met], ordered=False)


def _replacing(document: Document, *, upsert: bool) -> ReplaceOne[Any]:
    row = row_of(document)
    return ReplaceOne({"_id": row["_id"], "v": {"$lt": document.version}}, row, upsert=upsert)


_port: type[Documents] = MongoDocuments
