"""What replays need from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from interlock.core.desk.bulk.model import LEASE
from interlock.core.desk.replay.model import Group
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import Queue
from interlock.core.kernel.store import Store
from interlock.core.webhooks.ports import Webhooks

Tell = Mapping[Group, Callable[[Sequence[Event]], Awaitable[None]]]
"""Has the effects of events on one group made durable, as if they had come over the bus. Safe to repeat."""


class Replays(NamedTuple):
    """The means of every handler here."""

    store: Store
    clock: Clock
    ids: Ids
    documents: Documents
    webhooks: Webhooks
    queue: Queue
    queues: Collection[str]
    histories: Feed
    """Every event there ever was."""
    lease: Millis = LEASE
