"""Opening the file: whose it is, how it commits, which tables it has."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from interlock.backends.sqlite.turnstile import Turnstile
from interlock.core.kernel.errors import StoreUnavailable

FORMAT = 1
"""Of the file, kept in `user_version`: raised when an older release could not work with what this one writes."""

_APPLICATION_ID = 0x494C4B31
_OPEN_TIMEOUT_S = 5.0
_READ_BUSY_MS = 50
_PAGE_BYTES = 8_192
"""Payments of one to four kB fit beside each other; a tenth less CPU than pages of 4096."""
_CHECKPOINT_PAGES = 500
"""A checkpoint stops the loop: many short stops, not few long ones."""
_CACHE_KIB = 65_536

_SCHEMA = "CREATE TABLE IF NOT EXISTS file_seal (id INTEGER PRIMARY KEY CHECK (id = 1), seals INTEGER NOT NULL);"


def open_file(path: Path, schemas: Sequence[str]) -> tuple[sqlite3.Connection, sqlite3.Connection, Turnstile]:
    """The connection that writes, the one that reads, and the turnstile before the write lock.

    Raises StoreUnavailable, and leaves nothing open.
    """
    with contextlib.ExitStack() as undo:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            turnstile = Turnstile(path)
            undo.callback(turnstile.close)
        except OSError as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        # Two that set a file up at once would see it half-made, and SQLite waits for no lock while it changes the journal.
        if not turnstile.enter_within(_OPEN_TIMEOUT_S):
            raise StoreUnavailable(f"cannot open {path}: other processes write without a pause")
        try:
            writer = _connect(path, undo, timeout_s=_OPEN_TIMEOUT_S)
            _prepare(writer, path, schemas)
            reader = _connect(path, undo, timeout_s=_READ_BUSY_MS / 1_000)
            reader.execute("PRAGMA query_only = 1")
            reader.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            writer.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot use {path}: {error}") from error
        turnstile.leave()
        undo.pop_all()
        return writer, reader, turnstile


def _connect(path: Path, undo: contextlib.ExitStack, *, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, cached_statements=512)
    undo.callback(connection.close)
    return connection


def _prepare(writer: sqlite3.Connection, path: Path, schemas: Sequence[str]) -> None:
    """Check whose file it is, set it up for durable commits and make the tables that are missing."""
    (application,) = writer.execute("PRAGMA application_id").fetchone()
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    (tables,) = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > FORMAT and application == _APPLICATION_ID:
        raise StoreUnavailable(f"{path} was written by a newer release: format {version}, this one knows {FORMAT}")
    if application != _APPLICATION_ID and (application or version or tables):
        raise StoreUnavailable(f"{path} is a database of another program")
    writer.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    writer.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    writer.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
        f"{_SCHEMA}{';'.join(schemas)}; COMMIT;"
    )
