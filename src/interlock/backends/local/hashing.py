"""Password hashes in threads of their own: what takes a third of a second must not stand between payments."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from interlock.core.desk.operators.passwords import digest_of
from interlock.core.kernel.errors import Unavailable

AT_ONCE = 2
"""Each takes a processor and 32 MB."""
WAITING_MAX = 8
RETRY_AFTER_S = 2


class ThreadedHashing:
    """AT_ONCE are worked on, WAITING_MAX wait, and the next one is asked to come back."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")
        self._room = BoundedSemaphore(AT_ONCE + WAITING_MAX)

    async def digest_of(self, password: str, salt: str) -> str:
        """Raises Unavailable (`busy`)."""
        if not self._room.acquire(blocking=False):
            raise Unavailable("many people sign in at this moment; try again", retry_after_s=RETRY_AFTER_S, code="busy")
        work = self._threads.submit(digest_of, password, salt)
        # Not when somebody gives up waiting: what a thread has begun goes on.
        work.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(work)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
