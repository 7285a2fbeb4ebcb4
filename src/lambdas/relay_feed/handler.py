"""The table's stream -> the bus, and schedules for what is parked.

What cannot be read is put aside; all else comes again, in order, until it is done.
"""

from typing import Any

from interlock.backends.aws.feed import read_records
from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> None:
    events, unreadable = read_records(event["Records"])
    function.put_aside("feed", unreadable)
    function.publish(events)
    function.remind(event["Records"])
