"""One real payment's rows as a mould: what is the same in all payments stands, what is not is filled in.

The rows are those the running platform wrote, so they have the form that its own encoders give them. Ids, instants, the
amount, the merchant's reference and hashes are replaced; the journal's digest is made anew, and keys that are made from a
hash of the payment's id are put where the platform would look for them.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from interlock.core.ledger.projection import mark_partition
from interlock.core.ledger.records import day_of, journal_partition, shard_of
from interlock.entrypoints.local import TENANT

TABLES = {
    "items": ("partition", "sort", "version", "value", "indexes", "expires_at"),
    "events": ("aggregate", "version", "body"),
    "documents_payments": ("tenant", "id", "version", "fields", "body"),
    "documents_provider_references": ("tenant", "id", "version", "fields", "body"),
    "documents_events": ("tenant", "id", "version", "fields", "body"),
    "documents_journals": ("tenant", "id", "version", "fields", "body"),
}
"""Every table in which a settled payment has rows, but for the bus: its messages are dropped after ten minutes."""
_ID = re.compile(rb"\b(pay|att|pm|cap|req|evt|jrn|sch|sop)_([0-9a-hjkmnp-tv-z]{26})\b")
_INSTANT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_DAY = re.compile(rb"\b\d{4}-\d\d-\d\d\b(?!T)")
_MILLIS = re.compile(rb"(?<![\d.])1[789]\d{11}(?!\d)")
_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Numbers(NamedTuple):
    """What makes one payment differ from the next."""

    number: int
    """Of the merchant's order."""
    at: int
    """When it was created, in milliseconds."""
    amount: int
    """Minor units, four digits."""


class Mould:
    """Text with gaps. Each gap is (kind, argument)."""

    def __init__(self, content: bytes, known: Known) -> None:
        gaps: list[tuple[int, int, tuple[str, Any]]] = []
        for found in _ID.finditer(content):
            gaps.append((found.start(2), found.end(2), ("id", known.slot(found.group(2)))))
        for found in _INSTANT.finditer(content):
            gaps.append((*found.span(), ("instant", _millis(found.group()) - known.at)))
        for found in _DAY.finditer(content):
            gaps.append((*found.span(), ("day", None)))
        for found in _MILLIS.finditer(content):
            gaps.append((*found.span(), ("millis", int(found.group()) - known.at)))
        for kind, text in known.texts.items():
            start = content.find(text)
            while start >= 0:
                gaps.append((start, start + len(text), (kind, None)))
                start = content.find(text, start + len(text))
        gaps.sort()
        self.gaps: list[tuple[str, Any]] = []
        pieces, end = [], 0
        for start, stop, gap in gaps:
            if start < end:
                continue  # within one that is replaced as a whole
            pieces.append(content[end:start].replace(b"%", b"%%"))
            self.gaps.append(gap)
            end = stop
        pieces.append(content[end:].replace(b"%", b"%%"))
        self.form = b"%b".join(pieces)

    def filled(self, values: Mapping[tuple[str, Any], bytes]) -> bytes:
        return self.form % tuple(values[gap] for gap in self.gaps)


class Known:
    """What was different in the payment that is the mould."""

    def __init__(self, *, at: int, amount: int, reference: str, idempotency: str, fingerprint: str) -> None:
        self.at = at
        self.slots: dict[bytes, int] = {}
        self.texts = {
            "amount": b"%d" % amount,
            "reference": reference.encode(),
            "idempotency": idempotency.encode(),
            "fingerprint": fingerprint.encode(),
        }

    def slot(self, tail: bytes) -> int:
        return self.slots.setdefault(tail, len(self.slots))


class Template:
    """All moulds of a payment, read from a folder's database in which it is the only one."""

    def __init__(self, database: sqlite3.Connection) -> None:
        value = json.loads(_one(database, "SELECT value FROM items WHERE sort = 'payment'"))
        record = json.loads(_one(database, "SELECT value FROM items WHERE sort = 'record'"))
        self.known = Known(
            at=value["created_at"],
            amount=value["amount"],
            reference=value["reference"],
            idempotency=_one(database, "SELECT partition FROM items WHERE sort = 'record'").rpartition("/")[2],
            fingerprint=record["fingerprint"],
        )
        self.payment_slot = self.known.slot(value["id"].partition("_")[2].encode())
        self.rows: dict[str, list[list[Any]]] = {}
        for table, columns in TABLES.items():
            statement = f"SELECT {', '.join(columns)} FROM {table} {_THEIRS[table]}"
            found = database.execute(statement).fetchall()
            if not found:
                raise ValueError(f"the payment left nothing in {table}")
            self.rows[table] = [[self._mould(cell) for cell in row] for row in found]
        self.gaps = {
            gap
            for rows in self.rows.values()
            for row in rows
            for cell in row
            if isinstance(cell, tuple)
            for gap in cell[1].gaps
        }
        self.shape = sha256(repr(self._shapes(database)).encode()).hexdigest()[:16]
        """Another one when a payment's rows have got another form."""

    def _mould(self, cell: Any) -> Any:
        """(kind of the cell, mould) for text and bytes with gaps in them, else the cell."""
        if not isinstance(cell, str | bytes):
            return ("int", Mould(b"%d" % cell, self.known)) if isinstance(cell, int) and cell > 10**12 else cell
        mould = Mould(cell.encode() if isinstance(cell, str) else cell, self.known)
        return (type(cell).__name__, mould) if mould.gaps else cell

    def _shapes(self, database: sqlite3.Connection) -> list[Any]:
        marks = ", ".join("?" * len(TABLES))
        statement = f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name IN ({marks}) ORDER BY name"
        ddl = database.execute(statement, tuple(TABLES)).fetchall()
        return [ddl, *(len(rows) for rows in self.rows.values()), *sorted(_keys(self.rows))]

    def payment(self, numbers: Numbers) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of one payment, by table."""
        values = self._values(numbers)
        payment = b"pay_" + values["id", self.payment_slot]
        day, shard = day_of(numbers.at), shard_of(payment.decode())
        made: dict[str, list[tuple[Any, ...]]] = {}
        for table, rows in self.rows.items():
            made[table] = [tuple(_cell(cell, values) for cell in row) for row in rows]
        made["items"] = [_placed(row, day, shard) for row in made["items"]]
        return made

    def _values(self, numbers: Numbers) -> dict[tuple[str, Any], bytes]:
        at = numbers.at
        begins = "".join(_ALPHABET[at >> shift & 31] for shift in range(45, -1, -5)).encode()
        values: dict[tuple[str, Any], bytes] = {
            ("amount", None): b"%d" % numbers.amount,
            ("reference", None): b"order-%010d" % numbers.number,
            ("idempotency", None): os.urandom(20).hex().encode(),
            ("fingerprint", None): os.urandom(16).hex().encode(),
            ("day", None): day_of(at).encode(),
        }
        for gap in self.gaps:
            kind, argument = gap
            if kind == "id":
                values[gap] = begins + base64.b32encode(os.urandom(10)).translate(_CROCKFORD)
            elif kind == "millis":
                values[gap] = b"%d" % (at + argument)
            elif kind == "instant":
                values[gap] = _rfc3339(at + argument)
        return values


_THEIRS = {
    "items": "WHERE sort IN ('payment', 'record') OR partition LIKE '%/jrn/%' OR partition LIKE '%/jrn_counted/%'",
    "events": "WHERE aggregate LIKE 'pay_%' ORDER BY version",
    "documents_payments": "",
    "documents_provider_references": "",
    "documents_events": "WHERE id LIKE 'evt_%' AND json_extract(fields, '$.aggregate') LIKE 'pay_%' ORDER BY id",
    "documents_journals": "",
}


def _cell(cell: Any, values: Mapping[tuple[str, Any], bytes]) -> Any:
    if not isinstance(cell, tuple):
        return cell
    kind, mould = cell
    filled = mould.filled(values)
    return filled if kind == "bytes" else filled.decode() if kind == "str" else int(filled)


def _placed(row: tuple[Any, ...], day: str, shard: int) -> tuple[Any, ...]:
    """Where the platform would look for it; a journal with the digest of what it now says."""
    partition, sort, version, value, indexes, expires_at = row
    if "/jrn/" in partition:
        raw = value[value.index(b'"journal":') + 10 : -1]
        value = b'{"digest":"%b","journal":%b}' % (sha256(raw).hexdigest().encode(), raw)
        partition = journal_partition(TENANT, day, shard)
    elif "/jrn_counted/" in partition:
        partition = mark_partition(TENANT, day, shard)
    return partition, sort, version, value, indexes, expires_at


def _keys(rows: Mapping[str, list[list[Any]]]) -> set[str]:
    """Every name of a JSON member that occurs."""
    forms = [cell[1].form for each in rows.values() for row in each for cell in row if isinstance(cell, tuple)]
    return {found.decode() for form in forms for found in re.findall(rb'"(\w+)\\?":', form)}


def _one(database: sqlite3.Connection, statement: str) -> Any:
    ((value,),) = database.execute(statement).fetchall()
    return value


def _millis(instant: bytes) -> int:
    at = datetime.fromisoformat(instant.decode().replace("Z", "+00:00"))
    return round(at.timestamp() * 1_000)


_seconds: dict[int, bytes] = {}


def _rfc3339(at: int) -> bytes:
    second = at // 1_000
    if second not in _seconds:
        _seconds.clear()
        for one in range(second - 1, second + 3):
            _seconds[one] = datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
    return b"%b.%03dZ" % (_seconds[second], at % 1_000)
