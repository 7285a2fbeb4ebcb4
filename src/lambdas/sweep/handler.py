"""Every minute: payments whose deadline has passed are looked up, finished or released. Schedules say what is due again."""

from typing import Any

from interlock.entrypoints.functions import Function

SECONDS = 50.0
"""Then the next minute's call goes on."""
function = Function()


def handle(event: dict[str, Any], context: Any) -> dict[str, int | bool]:
    if "parked" in event:
        return {"woken": function.wake(event)}
    return {"swept": function.sweep(seconds=SECONDS)}
