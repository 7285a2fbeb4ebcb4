"""A task of workflows: archive ledger."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> Any:
    return function.step("archive_ledger", event)
