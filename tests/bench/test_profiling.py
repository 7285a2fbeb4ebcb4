"""Each sample of the profile is put down to one part."""

import pytest

from bench.profiling import PARTS, shares

LOOP = "run (uvloop/__init__.py)"
SERVED = f"{LOOP};RequestResponseCycle.run_asgi (uvicorn/x.py);HttpApp.__call__ (interlock/entrypoints/http/app.py)"
CREATE = "create_payment (interlock/core/payments/handlers.py)"
STACKS = {
    f"{LOOP};Database._flush (d.py);Database._run (d.py)": "COMMIT and its wait for the disk",
    f"{LOOP};Database._flush (d.py);Database._run (d.py);_apply (interlock/backends/sqlite/store.py)": "rows of the commits",
    f"{LOOP};_forever (interlock/entrypoints/worker.py);Consumer.step (w.py)": "consumers, relay and other loops",
    f"{SERVED};{CREATE};ProviderEngine.call (interlock/providers/engine.py)": "provider: engine, adapter, client",
    f"{LOOP};Connection.data_received (interlock/providers/connection.py)": "provider: engine, adapter, client",
    f"{SERVED};{CREATE};commit (interlock/core/payments/commits.py)": "deciding, encoding, reading",
    f"{SERVED};authenticate (a.py)": "HTTP: dispatcher, checks, telemetry",
    LOOP: "server and event loop",
}


@pytest.mark.parametrize("stack", STACKS)
def test_sample_is_put_down_to_its_part(stack):
    found = shares([f"{stack} 3"])
    assert {name: share for name, share in found["parts"].items() if share} == {STACKS[stack]: 1.0}


def test_every_part_has_an_example():
    assert set(STACKS.values()) == {name for name, _ in PARTS}


def test_threads_that_wait_for_work_are_left_out():
    waiting = "Thread._bootstrap (threading.py);Thread.run (threading.py);_worker (concurrent/futures/thread.py) 90"
    found = shares([waiting, f"{LOOP} 1", f"{SERVED} 3"])
    assert found["samples"] == 4
    assert found["parts"]["server and event loop"] == 0.25


def test_profile_without_samples_is_none():
    assert shares([]) is None
