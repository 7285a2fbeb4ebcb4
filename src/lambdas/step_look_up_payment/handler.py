"""A task of workflows: look up payment."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("look_up_payment", event)
