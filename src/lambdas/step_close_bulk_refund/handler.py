"""A task of workflows: close bulk refund."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("close_bulk_refund", event)
