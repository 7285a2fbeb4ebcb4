"""Passwords are hashed aside: so many at once, so many waiting, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from interlock.backends.local import hashing as module
from interlock.backends.local.hashing import AT_ONCE, WAITING_MAX, ThreadedHashing
from interlock.core.desk.operators.passwords import NOBODY, digest_of
from interlock.core.kernel.errors import Unavailable


class Gate:
    """Instead of scrypt: holds every thread until it is opened."""

    def __init__(self) -> None:
        self.opened, self.began, self.inside = threading.Event(), threading.Semaphore(0), 0

    def __call__(self, password: str, salt: str) -> str:
        self.inside += 1
        self.began.release()
        assert self.opened.wait(20)
        return password + salt


@pytest.fixture
async def held(monkeypatch):
    gate, hashing = Gate(), ThreadedHashing()
    monkeypatch.setattr(module, "digest_of", gate)
    yield gate, hashing
    gate.opened.set()
    await hashing.close()


async def full(gate, hashing):
    asked = [asyncio.create_task(hashing.digest_of(str(number), "s")) for number in range(AT_ONCE + WAITING_MAX)]
    for _ in range(AT_ONCE):
        assert await asyncio.to_thread(gate.began.acquire, timeout=20)
    return asked


async def test_digest_is_that_of_core():
    hashing = ThreadedHashing()
    assert await hashing.digest_of("correct horse battery", NOBODY) == digest_of("correct horse battery", NOBODY)
    await hashing.close()


async def test_two_are_worked_on_some_wait_and_more_are_asked_to_come_back(held):
    gate, hashing = held
    asked = await full(gate, hashing)
    with pytest.raises(Unavailable) as caught:
        await hashing.digest_of("one more", "s")
    assert (caught.value.reason, gate.inside) == ("busy", AT_ONCE)
    gate.opened.set()
    assert await asyncio.gather(*asked) == [f"{number}s" for number in range(AT_ONCE + WAITING_MAX)]
    assert await hashing.digest_of("later", "s") == "laters"


async def test_who_gives_up_makes_room_unless_a_thread_is_at_it(held):
    gate, hashing = held
    asked = await full(gate, hashing)
    asked[0].cancel()
    asked[-1].cancel()
    await asyncio.wait([asked[0], asked[-1]])
    another = asyncio.create_task(hashing.digest_of("another", "s"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await hashing.digest_of("one more", "s")
    gate.opened.set()
    assert await another == "anothers"
