"""A running oidc-provider (npm) for the length of a `with`: an OIDC issuer that is not ours.

`python -m tests.counterparts.oidc_provider` installs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.counterparts.paths import Part, are_required, require

OIDC_PROVIDER = Part("oidc-provider", "9.13.3", "an OIDC issuer: access tokens for us to verify, people who sign in")
CLIENT_ID = "shop"
CLIENT_SECRET = "shop-secret-for-tests-only"
DESK_ID = "desk"
DESK_SECRET = "desk+secret for tests/only"
TENANT = "ten_outside"
STOP_TIMEOUT_S = 10


@contextmanager
def running_oidc_provider(console_origin: str = "") -> Iterator[str]:
    """Its issuer URL. People of the console at `console_origin` may sign in there, under the names in the .mjs file.

    Skips the test when it is not installed.
    """
    node = require("node")
    if not OIDC_PROVIDER.stamp.exists():
        reason = "oidc-provider is not installed; `python -m tests.counterparts.oidc_provider` installs it"
        raise (pytest.fail.Exception if are_required() else pytest.skip.Exception)(reason)
    process = subprocess.Popen(
        [str(node), str(Path(__file__).with_suffix(".mjs")), str(OIDC_PROVIDER.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "CONSOLE_ORIGIN": console_origin},
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), "oidc-provider did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()


def install_oidc_provider() -> None:
    from tests.counterparts.install import _npm_install, _once

    _once(OIDC_PROVIDER, lambda home: _npm_install(home, f"oidc-provider@{OIDC_PROVIDER.version}"))


if __name__ == "__main__":
    install_oidc_provider()
    sys.exit(0)
