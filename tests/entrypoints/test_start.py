"""What a process of the platform loads, and how it settles. In processes of their own: this one has loaded everything."""

import subprocess
import sys

LATER = ("aiohttp", "joserfc", "cryptography", "jsonata", "opentelemetry", "rich", "typer", "uvicorn")


def told(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_api_loads_nothing_heavy_that_is_needed_later():
    program = f"import sys, interlock.entrypoints.http.api; print([name for name in {LATER} if name in sys.modules])"
    assert told(program) == "[]"


def test_settled_process_does_not_look_at_what_was_there():
    program = (
        "import gc; from interlock.entrypoints.garbage import YOUNG_OBJECTS, settle; settle();"
        "print(gc.get_threshold()[0] == YOUNG_OBJECTS, gc.get_freeze_count() > 1_000, gc.isenabled())"
    )
    assert told(program) == "True True True"
