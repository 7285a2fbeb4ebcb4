"""Repairs as items: the head in a list, its payments in pages beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from interlock.core.desk.bulk.records import due_place
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.repair.model import ITEMS_OF_A_PAGE, Became, Item, Repair
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.ids import is_id
from interlock.core.kernel.store import ABSENT, Key, Put, Store

REPAIR = "rpr"
HEADS = "~desk/repairs"


def head_key(repair_id: str) -> Key:
    return Key(HEADS, repair_id)


def head_write(repair: Repair, expected: int = ABSENT) -> Put:
    return Put(head_key(repair.id), _encoder.encode(repair), expected, due_place(repair))


def page_key(repair_id: str, number: int) -> Key:
    return Key(f"~desk/repairs/{repair_id}", f"{number:04d}")


def page_write(repair_id: str, number: int, items: Sequence[Item], expected: int = ABSENT) -> Put:
    return Put(page_key(repair_id, number), _encoder.encode(list(items)), expected)


def pages_of(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + ITEMS_OF_A_PAGE] for start in range(0, len(items), ITEMS_OF_A_PAGE)]


async def load_repair(store: Store, repair_id: str) -> tuple[Repair, int]:
    """With the version its next write expects. Raises NotFound."""
    item = await store.get(head_key(repair_id)) if is_id(repair_id, REPAIR) else None
    if item is None:
        raise NotFound("no such repair")
    return _head.decode(item.value), item.version


async def see_repair(store: Store, repair_id: str) -> Repair:
    """With what became of its items up to now. Raises NotFound."""
    repair, _ = await load_repair(store, repair_id)
    return counted(repair, await tallies_of(store, repair)) if repair.stage is Stage.APPROVED else repair


async def load_page(store: Store, repair_id: str, number: int) -> tuple[list[Item], int]:
    item = await store.get(page_key(repair_id, number))
    if item is None:
        raise NotFound("no such page")
    return _page.decode(item.value), item.version


async def tallies_of(store: Store, repair: Repair) -> list[Counter[Became]]:
    """What became of the items of each page so far."""
    return [tally_of((await load_page(store, repair.id, number))[0]) for number in range(repair.pages)]


def tally_of(items: Iterable[Item]) -> Counter[Became]:
    return Counter(item.became for item in items)


def counted(repair: Repair, tallies: Iterable[Counter[Became]]) -> Repair:
    """The head is written once for each page: between, its pages know better."""
    sums = sum(tallies, Counter[Became]())
    return replace(repair, done=sums[Became.DONE], skipped=sums[Became.SKIPPED], failed=sums[Became.FAILED])


def counts_of(repair: Repair) -> dict[str, int]:
    return {"done": repair.done, "skipped": repair.skipped, "failed": repair.failed}


async def list_repairs(store: Store, *, limit: int = 50, after: str | None = None) -> list[Repair]:
    """Newest first."""
    page = await store.query(HEADS, limit=limit, after=after, newest_first=True)
    return [_head.decode(item.value) for item in page.items]


_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(Repair)
_page = msgspec.json.Decoder(list[Item])
