"""The sample day: only at simulated providers, only in a new folder, and once."""

from __future__ import annotations

import io

from interlock.bootstrap import open_storage
from interlock.config import Settings
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.entrypoints.sample_day import MADE, make_sample_day


async def test_folder_in_which_anything_ever_happened_gets_no_sample_day(tmp_path):
    settings = Settings(data=str(tmp_path))
    storage = open_storage(settings, log=io.BytesIO())
    await storage.store.commit(
        [Put(Key("ten/pay/x", "payment"), b"{}", ABSENT)], [Event("evt_1", "payment.created", "ten", "pay_1", 1, 1)]
    )
    assert await make_sample_day(settings, storage, issuer="http://127.0.0.1") == 0
    assert await storage.store.get(MADE) is None
    await storage.close()


async def test_folder_that_had_its_day_gets_no_other(tmp_path):
    settings = Settings(data=str(tmp_path))
    storage = open_storage(settings, log=io.BytesIO())
    await storage.store.commit([Put(MADE, b"{}", ABSENT)])
    assert await make_sample_day(settings, storage, issuer="http://127.0.0.1") == 0
    await storage.close()
