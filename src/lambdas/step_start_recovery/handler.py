"""A task of workflows: start recovery."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("start_recovery", event)
