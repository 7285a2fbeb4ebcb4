"""Randomness drawn for many ids at once: no part of it is given twice."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from interlock.backends.local.ids import SystemBits

FORKED = """
import os
from interlock.backends.local.ids import SystemBits
bits = SystemBits()
bits(80)
mine, theirs = os.pipe()
if os.fork() == 0:
    os.write(theirs, bits(80).to_bytes(10))
    os._exit(0)
os.wait()
assert os.read(mine, 10) != bits(80).to_bytes(10)
"""


def test_bits_are_those_drawn_each_once_and_then_drawn_again():
    drawn = []

    def draw(size: int) -> bytes:
        drawn.append(bytes(number % 256 for number in range(len(drawn), len(drawn) + size)))
        return drawn[-1]

    bits = SystemBits(draw)
    found = [bits(80) for _ in range(300)]
    every = b"".join(drawn)
    assert found == [int.from_bytes(every[at : at + 10]) for at in range(0, 3_000, 10)]
    assert len(drawn) == 2
    bits.forget()
    assert bits(8) == 2 and len(drawn) == 3


def test_threads_are_never_given_the_same():
    bits = SystemBits()
    with ThreadPoolExecutor(8) as threads:
        found = [one for part in threads.map(lambda _: [bits(80) for _ in range(5_000)], range(8)) for one in part]
    assert len(set(found)) == 40_000


def test_number_is_no_larger_than_asked_for():
    bits = SystemBits()
    assert all(bits(n) < 1 << n for n in range(1, 81) for _ in range(20))
    assert max(bits(40) for _ in range(200)) >= 1 << 38


def test_forked_process_does_not_go_on_from_the_same_place():
    assert subprocess.run([sys.executable, "-c", FORKED], check=False).returncode == 0
