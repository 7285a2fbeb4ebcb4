"""An analysis over a few rows."""

from contextlib import asynccontextmanager

import msgspec

from interlock.backends.duckdb.analysis import DuckAnalysis
from interlock.backends.duckdb.files import ParquetFiles
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.core.desk.queries.handlers import export
from interlock.core.desk.queries.ports import Exports
from interlock.core.kernel.events import Event
from tests.clocks import ManualClock

NOW = 1_800_000_000_000


def event(number, *, at=NOW, type_="webhook_endpoint.created", tenant="ten_1"):
    """One that is about no payment."""
    facts = msgspec.Raw(b'{"cause":"api","actor":"cli_1"}')
    return Event(f"evt_{number:026d}", type_, tenant, f"whe_{number:026d}", 1, at, facts=facts)


async def means_with(*batches):
    means = Exports(MemoryBlobs(), ParquetFiles())
    for batch in batches:
        await export(means, batch)
    return means


@asynccontextmanager
async def analysis_over(folder, means, **settings):
    made = DuckAnalysis(means.blobs, ManualClock(NOW), folder / "analysis", **settings)
    try:
        yield made
    finally:
        await made.close()
