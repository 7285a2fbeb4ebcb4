"""The table's stream -> the bus. What cannot be published comes again, in order; what cannot be read is put aside."""

from typing import Any

from interlock.backends.aws.feed import read_records
from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> None:
    events, unreadable = read_records(event["Records"])
    function.put_aside("feed", unreadable)
    function.publish(events)
