"""How a document stands in DocumentDB: `{_id, t: tenant, i: id, v: version, f: {field: value}, b: body}`.

Values are text that begins with its kind, so 1, true and "1" are three on every server that
speaks the protocol. `_id` is the tenant and the id, so what is unique does not hang on an index that somebody must have made.

DocumentDB's bounds, which are the narrowest: 16 MB for a document, 2,048 bytes for a key of an index, 63 characters for a name,
no NUL in a string. Source: https://docs.aws.amazon.com/documentdb/latest/developerguide/limits.html (checked 2026-11-27).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from interlock.core.kernel.documents import Collection, Document, Scalar, Tally
from interlock.core.kernel.errors import Invalid

TENANT_BYTES_MAX = 400
ID_BYTES_MAX = 500
VALUE_BYTES_MAX = 1_024
"""The three together, with what surrounds them, are the longest key of an index."""
BODY_BYTES_MAX = 16_000_000
"""Of the 16 MiB of a document; the rest is for ids and fields."""
INTEGER_MAX = 2**63 - 1
FIELDS_MAX = 60
"""A collection has 64 indexes at most."""
_MISSING = "-"
"""No value begins with this."""
_END = "\x1f\x1e\x1f"
"""Between values. Not NUL, which no value holds: some servers end a key at it."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


def check_names(collection: Collection) -> None:
    """Raises ValueError: a collection or a field that cannot be called so."""
    for name in (collection.name, *collection.fields, *collection.counted):
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} cannot name a collection or a field")
    if len(collection.fields) > FIELDS_MAX:
        raise ValueError(f"{collection.name} has {len(collection.fields)} fields; {FIELDS_MAX} is the most")


def indexes(fields: Sequence[str]) -> list[IndexModel]:
    """Behind tenant and value come ids, newest first: a search needs no sorting and stops at its limit."""
    by_id = IndexModel([("t", ASCENDING), ("i", DESCENDING)], name="by_id", unique=True)
    by_field = [
        IndexModel([("t", ASCENDING), (f"f.{field}", ASCENDING), ("i", DESCENDING)], name=f"by_{field}")
        for field in fields
    ]
    return [by_id, *by_field]


def check(document: Document) -> None:
    """Raises Invalid: DocumentDB could not keep this document, or not in its indexes."""
    _check_text("a tenant", document.tenant, TENANT_BYTES_MAX)
    _check_text("an id", document.id, ID_BYTES_MAX)
    for field, value in document.fields.items():
        if isinstance(value, str):
            _check_text(f"{field} of a document", value, VALUE_BYTES_MAX)
        elif abs(value) > INTEGER_MAX:
            raise Invalid(f"{field} of a document is {INTEGER_MAX} at most")
    if len(document.body) > BODY_BYTES_MAX:
        raise Invalid(f"a document has {len(document.body)} bytes; {BODY_BYTES_MAX} is the most")
    if not 0 <= document.version <= INTEGER_MAX:
        raise Invalid(f"a version is 0 to {INTEGER_MAX}")
    try:
        document.body.decode()
    except UnicodeDecodeError:
        raise Invalid("a document's body is JSON in UTF-8") from None


def newest(documents: Sequence[Document]) -> list[Document]:
    """One of each id: the server promises no order within one write."""
    found: dict[tuple[str, str], Document] = {}
    for one in documents:
        standing = found.get((one.tenant, one.id))
        if standing is None or standing.version < one.version:
            found[one.tenant, one.id] = one
    return list(found.values())


def row_of(document: Document) -> dict[str, Any]:
    return {
        "_id": row_id(document.tenant, document.id),
        "t": document.tenant,
        "i": document.id,
        "v": document.version,
        "f": {field: value_of(value) for field, value in document.fields.items()},
        "b": document.body.decode(),
    }


def document_of(row: Mapping[str, Any]) -> Document:
    fields = {field: _scalar(value) for field, value in row["f"].items()}
    return Document(row["i"], row["t"], row["v"], fields, row["b"].encode())


def row_id(tenant: str, document_id: str) -> str:
    """With the tenant's length, or `a` + `bc` and `ab` + `c` would be one."""
    return f"{len(tenant)}:{tenant}{document_id}"


def value_of(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"b{int(value)}"
    return f"i{value}" if isinstance(value, int) else f"s{value}"


def where_of(
    *, tenant: str, where: Mapping[str, Scalar], id_from: str, after: str | None, before: str | None
) -> dict[str, Any]:
    """What `find` asks for. One condition for each end: the server picks one bound of several by itself."""
    ids = dict(_ends(id_from, after, before))
    return {"t": tenant, "i": ids, **{f"f.{field}": value_of(value) for field, value in where.items()}}


def tally_steps(wanted: Mapping[str, Any], fields: Sequence[str]) -> list[dict[str, Any]]:
    """The stages that count: documents of the same values are counted together.

    Whole numbers stand as text, so they are values like others here, and `tallies` multiplies: no conversion is asked of
    the server, nor a key of several parts, which servers that speak the protocol do each in their own way.
    """
    values = [{"$ifNull": [f"$f.{field}", _MISSING]} for field in fields]
    joined = [part for value in values for part in (value, _END)] or [_END]
    return [{"$match": wanted}, {"$project": {"k": {"$concat": joined}}}, {"$group": {"_id": "$k", "n": {"$sum": 1}}}]


def tallies(rows: Sequence[Mapping[str, Any]], by: Sequence[str], sums: Sequence[str]) -> list[Tally]:
    """What the stages found of the fields `(*by, *sums)`, summed up."""
    counted: dict[tuple[Scalar | None, ...], list[int]] = {}
    for row in rows:
        texts = row["_id"].split(_END)[: len(by) + len(sums)]
        found = [None if text == _MISSING else _scalar(text) for text in texts]
        totals = counted.setdefault(tuple(found[: len(by)]), [0] * (1 + len(sums)))
        totals[0] += row["n"]
        for place, number in enumerate(found[len(by) :], 1):
            totals[place] += int(number or 0) * row["n"]
    return [Tally(values, totals[0], tuple(totals[1:])) for values, totals in counted.items()]


def _ends(id_from: str, after: str | None, before: str | None) -> Iterator[tuple[str, str]]:
    lowest_is_seen = before is not None and before >= id_from
    yield ("$gt", before or "") if lowest_is_seen else ("$gte", id_from)
    if after is not None:
        yield "$lt", after


def _check_text(what: str, text: str, bytes_max: int) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{what} is text in Unicode, without lone surrogates") from None
    if length > bytes_max:
        raise Invalid(f"{what} has {length} bytes; {bytes_max} is the most")
    if "\0" in text:
        raise Invalid(f"{what} has no NUL")


def _scalar(text: str) -> Scalar:
    kind, value = text[:1], text[1:]
    if kind == "s":
        return value
    return value == "1" if kind == "b" else int(value)
