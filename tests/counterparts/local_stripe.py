"""A running localstripe for the length of a `with`.

What it is not: it ignores Idempotency-Key, accepts refunds above the charge, knows no `expand` of lists, no `created` filter
on intents, and of parameters only the most used. Nothing about those may be concluded from it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts.paths import require

API_KEY = "sk_test_interlock"
CARD_GOOD = "4242424242424242"
CARD_DECLINED = "4000000000000341"
STOP_TIMEOUT_S = 10


@contextmanager
def running_localstripe() -> Iterator[str]:
    """Its base URL. Skips the test when localstripe is not installed."""
    python = require("localstripe")
    process = subprocess.Popen(
        [str(python), str(Path(__file__).with_name("localstripe_server.py"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), "localstripe did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()
