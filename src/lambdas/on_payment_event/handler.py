"""The bus -> read models, balances, webhooks and the log. A batch that fails comes again; each effect counts once."""

from typing import Any

from interlock.backends.kafka.records import bus_records
from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> None:
    function.follow(bus_records(event))
