"""Every minute: repairs and replays that somebody approved are carried on, silences end, what has settled is counted."""

from typing import Any

from interlock.entrypoints.functions import Function

SECONDS = 50.0
"""Then the next minute's call goes on."""
function = Function()


def handle(event: dict[str, Any], context: Any) -> dict[str, int]:
    return {"repaired": function.tend_desk(seconds=SECONDS)}
