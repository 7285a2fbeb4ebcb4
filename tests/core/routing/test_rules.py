"""A tenant's rules in the store: replaced as a whole, read through a short memory, never mixed."""

import asyncio

import pytest

from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.errors import Invalid, WriteConflict
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.routing.handlers import CACHED_S, RULES_MAX, Rules
from interlock.core.routing.model import Rule
from tests.clocks import ManualClock
from tests.core.routing.test_choose import Providers

ROSTER = Providers()
DEFAULT = Rule("default", ("a", "b"))


class Yielding(MemoryStore):
    """Lets others run at each step, as a store behind a network does."""

    async def query(self, *args, **kwargs):
        await asyncio.sleep(0)
        return await super().query(*args, **kwargs)

    async def get(self, key):
        await asyncio.sleep(0)
        return await super().get(key)

    async def commit(self, writes, events=()):
        await asyncio.sleep(0)
        await super().commit(writes, events)


def setting():
    clock = ManualClock()
    store = Yielding(clock)
    return clock, store, Rules(store, clock)


async def names(rules, tenant="ten_1"):
    return sorted(await rules.of(tenant))


async def test_a_tenant_without_rules_has_none():
    _, _, rules = setting()
    assert await names(rules) == []


async def test_rules_replace_those_before_as_a_whole():
    _, _, rules = setting()
    await rules.replace("ten_1", [DEFAULT, Rule("cheap", ("c",))], ROSTER)
    assert await rules.of("ten_1") == {"default": DEFAULT, "cheap": Rule("cheap", ("c",))}
    await rules.replace("ten_1", [Rule("cheap", ("b",))], ROSTER)
    assert await rules.of("ten_1") == {"cheap": Rule("cheap", ("b",))}
    await rules.replace("ten_1", [], ROSTER)
    assert await names(rules) == []


async def test_rules_of_one_tenant_are_not_those_of_another():
    _, _, rules = setting()
    await rules.replace("ten_1", [DEFAULT], ROSTER)
    assert await names(rules, "ten_2") == []


async def test_another_node_sees_new_rules_after_two_seconds_at_the_latest():
    clock, store, rules = setting()
    elsewhere = Rules(store, clock)
    assert await names(elsewhere) == []
    await rules.replace("ten_1", [DEFAULT], ROSTER)
    assert await names(rules) == ["default"]
    assert await names(elsewhere) == []
    clock.advance(CACHED_S)
    assert await names(elsewhere) == ["default"]


@pytest.mark.parametrize("seed", range(4))
async def test_two_replacements_at_once_leave_the_rules_of_one_of_them(seed):
    clock, store, rules = setting()
    elsewhere = Rules(store, clock)

    async def replace(through, rule, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        await through.replace("ten_1", [rule], ROSTER)

    both = await asyncio.gather(
        replace(rules, Rule("left", ("a",)), seed % 2),
        replace(elsewhere, Rule("right", ("b",)), seed // 2),
        return_exceptions=True,
    )
    clock.advance(CACHED_S)
    now = await names(rules)
    assert len(now) == 1
    assert all(outcome is None or isinstance(outcome, WriteConflict) for outcome in both)
    clock.advance(CACHED_S)
    assert await names(elsewhere) == now


async def test_all_rules_can_be_replaced_by_as_many_others_along_with_further_writes():
    _, _, rules = setting()
    await rules.replace("ten_1", [Rule(f"old_{i}", ("a",)) for i in range(RULES_MAX)], ROSTER)
    audit = Put(Key("ten_1/audit", "1"), b"who and when", ABSENT)
    await rules.replace("ten_1", [Rule(f"new_{i}", ("b",)) for i in range(RULES_MAX)], ROSTER, also=[audit])
    assert await names(rules) == sorted(f"new_{i}" for i in range(RULES_MAX))


@pytest.mark.parametrize(
    ("rules", "pointer", "code"),
    [
        ([Rule("x", ("zzz",))], "/rules/0/providers/0", "unknown_provider"),
        ([DEFAULT, Rule("x", ("a", "zzz"))], "/rules/1/providers/1", "unknown_provider"),
        ([Rule("x", ())], "/rules/0/providers", "repeated"),
        ([Rule("x", ("a", "a"))], "/rules/0/providers", "repeated"),
        ([DEFAULT, DEFAULT], "/rules", "repeated"),
        ([Rule(f"r{i}", ("a",)) for i in range(RULES_MAX + 1)], "/rules", "too_many"),
    ],
)
async def test_faulty_rules_are_refused_by_pointer_and_those_before_stay(rules, pointer, code):
    _, store, kept = setting()
    await kept.replace("ten_1", [DEFAULT], ROSTER)
    before = dict(store._items)
    with pytest.raises(Invalid) as refused:
        await kept.replace("ten_1", rules, ROSTER)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [(pointer, code)]
    assert store._items == before


async def test_every_fault_is_named_at_once():
    _, _, kept = setting()
    with pytest.raises(Invalid) as refused:
        await kept.replace("ten_1", [Rule("x", ("zzz", "yyy")), Rule("x", ())], ROSTER)
    assert [fault.pointer for fault in refused.value.faults] == [
        "/rules",
        "/rules/0/providers/0",
        "/rules/0/providers/1",
        "/rules/1/providers",
    ]


async def test_the_memory_of_rules_is_bounded(monkeypatch):
    monkeypatch.setattr("interlock.core.routing.handlers.TENANTS_CACHED_MAX", 3)
    _, _, rules = setting()
    for i in range(10):
        await rules.of(f"ten_{i}")
    assert len(rules._cache) <= 3
