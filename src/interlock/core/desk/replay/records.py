"""Replays as items: one each, rewritten with every turn."""

from __future__ import annotations

import msgspec

from interlock.core.desk.bulk.records import due_place
from interlock.core.desk.replay.model import Replay
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.ids import is_id
from interlock.core.kernel.store import ABSENT, Key, Put, Store

REPLAY = "rpl"
HEADS = "~desk/replays"


def head_key(replay_id: str) -> Key:
    return Key(HEADS, replay_id)


def head_write(replay: Replay, expected: int = ABSENT) -> Put:
    return Put(head_key(replay.id), _encoder.encode(replay), expected, due_place(replay))


async def load_replay(store: Store, replay_id: str) -> tuple[Replay, int]:
    """With the version its next write expects. Raises NotFound."""
    item = await store.get(head_key(replay_id)) if is_id(replay_id, REPLAY) else None
    if item is None:
        raise NotFound("no such replay")
    return _head.decode(item.value), item.version


async def list_replays(store: Store, *, limit: int = 50, after: str | None = None) -> list[Replay]:
    """Newest first."""
    page = await store.query(HEADS, limit=limit, after=after, newest_first=True)
    return [_head.decode(item.value) for item in page.items]


_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(Replay)
