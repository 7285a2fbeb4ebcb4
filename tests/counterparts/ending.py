"""How a server that a test started is ended."""

from __future__ import annotations

import subprocess


def end(process: subprocess.Popen[bytes], *, within_s: float) -> None:
    """Asked first; killed if it does not listen."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
