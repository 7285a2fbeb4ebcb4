"""The Documents port through the MongoDB protocol.

A document is kept as `{_id, t: tenant, i: id, v: version, f: {field: value}, b: body}`: the body as the text it is, values as text
that says what they are, so that 1, true and "1" are three. An index for each field stands behind tenant and value, by id.

A document is replaced on condition that its version is lower. Where nothing matches, the server tries to insert one and meets
the `_id` that is there: either it is as new, or somebody has just written an older one, so those are asked about once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, ReplaceOne
from pymongo.errors import BulkWriteError, PyMongoError

from interlock.core.kernel.documents import Collection, Document, Documents, Scalar
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret

BODY_BYTES_MAX = 15_000_000
"""MongoDB's documents have 16 MB."""
AT_ONCE = 500
"""Documents of one write."""
DUPLICATE_KEY = 11_000
SELECT_MS, CONNECT_MS, ANSWER_MS, POOL_MS = 3_000, 2_000, 10_000, 3_000
CONNECTIONS_MOST = 50


class MongoDocuments:
    def __init__(
        self, uri: Secret, collections: Sequence[Collection], *, database: str = "interlock", ca_file: str = ""
    ) -> None:
        """`uri` is mongodb://..., with user and password; `ca_file` the authorities of the server's certificate."""
        self._uri, self._database, self._ca_file = uri, database, ca_file
        self._fields = {collection.name: tuple(collection.fields) for collection in collections}
        self._client: AsyncMongoClient[Any] | None = None
        self._indexed: set[str] = set()
        self._indexing = asyncio.Lock()

    async def upsert(self, collection: str, documents: Sequence[Document]) -> None:
        for document in documents:
            self._check_declared(collection, document.fields)
            if len(document.body) > BODY_BYTES_MAX:
                raise Invalid(f"a document has {len(document.body)} bytes; {BODY_BYTES_MAX} is the most")
        newest = _newest(documents)
        try:
            await self._have_indexes(collection)
            for start in range(0, len(newest), AT_ONCE):
                await self._replace(collection, newest[start : start + AT_ONCE])
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def get(self, collection: str, document_id: str, *, tenant: str) -> Document | None:
        try:
            row = await self._rows(collection).find_one({"_id": _id(tenant, document_id)})
        except PyMongoError as error:
            raise _unavailable(error) from error
        return None if row is None else _document(row)

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
        ids: dict[str, str] = {"$gte": id_from}
        if after is not None:
            ids["$lt"] = after
        if before is not None:
            ids["$gt"] = before
        asked: dict[str, Any] = {"t": tenant, "i": ids}
        asked |= {f"f.{field}": _value(value) for field, value in (where or {}).items()}
        order = DESCENDING if before is None else ASCENDING
        try:
            rows = await self._rows(collection).find(asked).sort("i", order).limit(limit).to_list(limit)
        except PyMongoError as error:
            raise _unavailable(error) from error
        found = [_document(row) for row in rows]
        return found if before is None else found[::-1]

    async def close(self) -> None:
        """Safe to repeat."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        try:
            await self._rows(collection).bulk_write([_replacing(one) for one in documents], ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(one["code"] != DUPLICATE_KEY for one in refused):
                raise
            again = [_replacing(documents[one["index"]], upsert=False) for one in refused]
            await self._rows(collection).bulk_write(again, ordered=False)

    async def _have_indexes(self, collection: str) -> None:
        """Once for each collection and process; nothing happens where they are."""
        if collection in self._indexed:
            return
        async with self._indexing:
            if collection in self._indexed:
                return
            rows = self._rows(collection)
            await rows.create_index([("t", ASCENDING), ("i", ASCENDING)])
            for field in self._fields[collection]:
                await rows.create_index([("t", ASCENDING), (f"f.{field}", ASCENDING), ("i", ASCENDING)])
            self._indexed.add(collection)

    def _rows(self, collection: str) -> Any:
        if collection not in self._fields:
            raise KeyError(collection)
        if self._client is None:
            self._client = AsyncMongoClient(self._uri.reveal(), **self._options())
        return self._client[self._database][collection]

    def _options(self) -> dict[str, Any]:
        given: dict[str, Any] = {
            "serverSelectionTimeoutMS": SELECT_MS,
            "connectTimeoutMS": CONNECT_MS,
            "socketTimeoutMS": ANSWER_MS,
            "waitQueueTimeoutMS": POOL_MS,
            "maxPoolSize": CONNECTIONS_MOST,
            "retryWrites": False,  # DocumentDB has none
            "w": "majority",
            "journal": True,
            "readPreference": "primary",
            "appname": "interlock",
        }
        return given | ({"tls": True, "tlsCAFile": self._ca_file} if self._ca_file else {})

    def _check_declared(self, collection: str, fields: Mapping[str, Scalar]) -> None:
        for field in fields:
            if field not in self._fields[collection]:
                raise KeyError(f"{collection}.{field}")


def _newest(documents: Sequence[Document]) -> list[Document]:
    """One of each id: the server promises no order within one write."""
    found: dict[tuple[str, str], Document] = {}
    for one in documents:
        standing = found.get((one.tenant, one.id))
        if standing is None or standing.version < one.version:
            found[one.tenant, one.id] = one
    return list(found.values())


def _replacing(document: Document, *, upsert: bool = True) -> ReplaceOne[Any]:
    row = {
        "_id": _id(document.tenant, document.id),
        "t": document.tenant,
        "i": document.id,
        "v": document.version,
        "f": {field: _value(value) for field, value in document.fields.items()},
        "b": document.body.decode(),
    }
    return ReplaceOne({"_id": row["_id"], "v": {"$lt": document.version}}, row, upsert=upsert)


def _document(row: Mapping[str, Any]) -> Document:
    fields = {field: _scalar(value) for field, value in row["f"].items()}
    return Document(row["i"], row["t"], row["v"], fields, row["b"].encode())


def _id(tenant: str, document_id: str) -> str:
    return f"{len(tenant)}:{tenant}{document_id}"


def _value(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"b{int(value)}"
    return f"i{value}" if isinstance(value, int) else f"s{value}"


def _scalar(text: str) -> Scalar:
    kind, value = text[:1], text[1:]
    if kind == "s":
        return value
    return value == "1" if kind == "b" else int(value)


def _unavailable(error: PyMongoError) -> StoreUnavailable:
    """The error's own words may name what it was asked; its kind is enough."""
    return StoreUnavailable(
        f"DocumentDB takes nothing at the moment ({type(error).__name__}): check that it runs, is reached and lets us in"
    )


_port: type[Documents] = MongoDocuments
