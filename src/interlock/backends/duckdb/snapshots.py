"""Keeps a database of all exported segments beside the queries, and brings it up to date."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from interlock.backends.duckdb.database import Generation, Incoming, drop_before, load
from interlock.backends.duckdb.places import Place
from interlock.core.desk.queries.handlers import list_all, manifests_in
from interlock.core.desk.queries.segments import ROOT, ROWS, parse, unread
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.errors import InterlockError, Unavailable

SEGMENTS_AT_ONCE = 2_000
"""Fetched before they are loaded together."""
FETCHES_AT_ONCE = 16


class Snapshots:
    def __init__(self, blobs: Blobs, place: Place, *, fresh_s: float) -> None:
        self._blobs, self._place, self._fresh_s = blobs, place, fresh_s
        self._folder = place.folder
        self._generation: Generation | None = None
        self._manifests: dict[str, list[str]] = {}
        self._looked_at = 0.0
        self._one = asyncio.Lock()

    @property
    def latest(self) -> Generation:
        """Without looking for anything newer. Call `current` at least once before."""
        assert self._generation is not None
        return self._generation

    async def current(self) -> Generation:
        """What queries see now; refreshed if nobody has looked for a while.

        When exports cannot be reached, what is here already is better than nothing: `Table.exported_to` says how old it is. Raises
        as `refresh` does only when there is nothing.
        """
        generation = self._generation
        if generation is not None and time.monotonic() - self._looked_at < self._fresh_s:
            return generation
        try:
            return await self.refresh()
        except InterlockError:
            if self._generation is None:
                raise
            self._looked_at = time.monotonic()
            return self._generation

    async def refresh(self) -> Generation:
        """Load every segment that is not here yet. Those who ask at the same time share one look.

        Raises what Blobs raises, and Unavailable for a segment that cannot be read: what is here stays then.
        """
        asked_at = time.monotonic()
        async with self._one:
            if self._generation is not None and self._looked_at > asked_at:
                return self._generation
            if self._generation is None:
                await asyncio.to_thread(self._place.take)
            started = time.monotonic()
            try:
                self._generation = await self._loaded(self._generation)
            except ValueError as error:
                raise Unavailable(f"exports cannot be read: {error}", code="exports_unreadable") from error
            self._looked_at = started
            return self._generation

    async def _loaded(self, generation: Generation | None) -> Generation:
        keys = await list_all(self._blobs, ROOT)
        fresh = [key for key in keys if key not in self._manifests]
        self._manifests |= await manifests_in(self._blobs, fresh)
        left = unread(keys, self._manifests, generation.loaded if generation else ())
        while left or generation is None:
            chosen, left = left[:SEGMENTS_AT_ONCE], left[SEGMENTS_AT_ONCE:]
            generation = await self._with(generation, chosen)
        return generation

    async def _with(self, generation: Generation | None, keys: Sequence[str]) -> Generation:
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=self._folder) as folder:
            places = asyncio.Semaphore(FETCHES_AT_ONCE)

            async def fetched(number: int, key: str) -> Incoming | None:
                async with places:
                    content = await self._blobs.get(key)
                segment = parse(key)
                if content is None or segment is None:
                    return None
                path = Path(folder) / f"{number}{ROWS}"
                await asyncio.to_thread(path.write_bytes, content)
                return Incoming(key, segment.table, path)

            found = await asyncio.gather(*(fetched(number, key) for number, key in enumerate(keys)))
            incoming = [one for one in found if one is not None]
            # With a merged segment, those whose rows it holds are in, too.
            inside = [key for one in incoming for key in self._manifests.get(one.key.removesuffix(ROWS) + ".json", ())]
            made = await asyncio.to_thread(load, self._folder, generation, incoming, inside)
        await asyncio.to_thread(drop_before, self._folder, made)
        return made
