"""A task of workflows: refund item."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("refund_item", event)
