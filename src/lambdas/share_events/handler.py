"""The bus to EventBridge, for rules that others write. A batch that fails comes again; nothing else waits for it."""

from typing import Any

from interlock.backends.kafka.records import bus_records
from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> None:
    function.share(bus_records(event))
