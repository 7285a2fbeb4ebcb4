"""What DynamoDB does on bad days, which no emulator does: a client that answers by a script."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from interlock.backends.aws.blobs import S3Blobs
from interlock.backends.aws.calls import Calls
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.store import DynamoStore
from tests.clocks import ManualClock


class HurriedClock(ManualClock):
    """Time passes as soon as somebody waits."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class ScriptedClient:
    """Each call takes the next line of the script: an answer to give, or an error to raise. The last line stays."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> Any:
            self.calls.append((operation, request))
            line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if isinstance(line, Exception):
                raise line
            return line

        return call


def refusal(code: str, *reasons: str, status: int = 400, **more: Any) -> ClientError:
    """As DynamoDB says it; `reasons` of a cancelled transaction, one for each item."""
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    if reasons:
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, "Call")


def calls_of(client: ScriptedClient, clock: ManualClock | None = None) -> Calls:
    return Calls(client, clock=clock or HurriedClock(), random=lambda: 0.5)


def store_of(client: ScriptedClient) -> DynamoStore:
    tokens = iter(f"token-{number}" for number in range(1, 100))
    return DynamoStore(calls_of(client), "interlock", new_token=lambda: next(tokens), indexes=("due",), drawers=())


def blobs_of(client: ScriptedClient) -> S3Blobs:
    tokens = iter(f"token-{number}" for number in range(1, 100))
    return S3Blobs(calls_of(client), "interlock", new_token=lambda: next(tokens))


def feed_of(client: ScriptedClient) -> StreamFeed:
    clock = HurriedClock()
    return StreamFeed(calls_of(client, clock), "arn:stream", clock=clock)
