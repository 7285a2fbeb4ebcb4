"""A connection that can read one database and nothing else, even if somebody runs any text through it.

What is off: files, network, extensions, Python's variables as tables, spilling to disk; and every setting is locked at the
end, so that no statement turns one back on.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from interlock.backends.duckdb.files import SETTINGS


def open_locked(database: Path, *, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(database),
        read_only=True,
        config=SETTINGS
        | {
            "enable_external_access": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": "",
            "max_temp_directory_size": "0B",
        },
    )
    # The costs of a query are read from its profile, which is printed nowhere.
    connection.execute("PRAGMA enable_profiling = 'no_output'")
    connection.execute("SET lock_configuration = true")
    return connection
