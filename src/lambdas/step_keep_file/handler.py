"""A task of workflows: keep file."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("keep_file", event)
