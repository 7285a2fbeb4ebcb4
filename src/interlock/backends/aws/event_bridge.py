"""The platform's events on an EventBridge bus, for rules that others write.

Source `interlock`, detail-type the event's type, detail a CloudEvent of what merchants see and whose it is; what only operators
may see stays here. Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.events import Event

SOURCE = "interlock"
ENTRIES_MOST = 10
BYTES_MOST = 256_000
"""Of one event, and of those put at once."""
TIME_BYTES = 14
TRIES = 6
AGAIN = frozenset({"ThrottlingException", "InternalFailure", "InternalException", "InternalServerError"})
"""What an entry may be told that is worth another try."""
NO_BUS = {"ResourceNotFoundException": "event bus"}
"""For `Calls`."""

Entry = dict[str, Any]


class EventBridge:
    def __init__(self, calls: Calls, bus: str, *, source: str) -> None:
        """`bus` is its name or ARN, `source` CloudEvents'."""
        self._calls, self._bus, self._source = calls, bus, source

    async def put(self, events: Sequence[Event]) -> Sequence[Event]:
        """As `SharesEvents` has it; rules know an event that comes twice by `detail.id`."""
        made = [(event, self._entry(event)) for event in events]
        for entries in list(_batches([entry for _, entry in made if _size(entry) <= BYTES_MOST])):
            await self._put(entries)
        return [event for event, entry in made if _size(entry) > BYTES_MOST]

    def _entry(self, event: Event) -> Entry:
        detail = {
            "specversion": "1.0",
            "id": event.id,
            "source": self._source,
            "type": event.type,
            "subject": event.aggregate,
            "time": rfc3339(event.at),
            "datacontenttype": "application/json",
            "tenant": event.tenant,
            "version": event.version,
            "data": event.data,
        }
        return {
            "Source": SOURCE,
            "DetailType": event.type,
            "Detail": msgspec.json.encode(detail).decode(),
            "EventBusName": self._bus,
            "Time": datetime.fromtimestamp(event.at / 1_000, UTC),
        }

    async def _put(self, entries: list[Entry]) -> None:
        """Those that failed once more, and again."""
        for tries in range(TRIES):
            try:
                answer = await self._calls.write("put_events", Entries=entries)
            except Refused as refused:
                raise StoreUnavailable(f"EventBridge refused: {refused.code}") from refused
            except OutcomeUnknown as error:
                raise StoreUnavailable(error.detail) from error
            told = list(zip(entries, answer["Entries"], strict=True))
            failed = [(entry, one["ErrorCode"]) for entry, one in told if one.get("ErrorCode")]
            if not failed:
                return
            if refused_for := {code for _, code in failed} - AGAIN:
                raise StoreUnavailable(f"EventBridge does not take some events: {sorted(refused_for)}")
            entries = [entry for entry, _ in failed]
            await self._calls.pause(tries)
        raise StoreUnavailable("EventBridge throttles: not all events are on the bus")


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if len(batch) == ENTRIES_MOST or size + _size(entry) > BYTES_MOST:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += _size(entry)
    if batch:
        yield batch


def _size(entry: Entry) -> int:
    """As EventBridge counts. Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html"""
    return TIME_BYTES + sum(len(entry[part].encode()) for part in ("Source", "DetailType", "Detail"))
