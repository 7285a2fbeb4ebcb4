"""A telemetry that remembers, and a transport that answers from a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from interlock.core.kernel.telemetry import Field
from interlock.providers.protocol import Fault, HttpReply, HttpRequest
from interlock.providers.transport import ProviderConfig


class RecordingSpan:
    def __init__(self) -> None:
        self.attributes: dict[str, Field] = {}

    def set(self, **attributes: Field) -> None:
        self.attributes.update(attributes)

    @property
    def traceparent(self) -> str:
        return ""


class RecordingTelemetry:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Field]]] = []
        self.counts: list[tuple[str, dict[str, str]]] = []
        self.observations: list[tuple[str, float, dict[str, str]]] = []
        self.spans: list[tuple[str, RecordingSpan]] = []

    def info(self, event: str, **fields: Field) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Field) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Field) -> None:
        self.lines.append(("error", event, fields))

    def count(self, metric: str, amount: int = 1, **labels: str) -> None:
        self.counts.append((metric, labels))

    def observe(self, metric: str, value: float, **labels: str) -> None:
        self.observations.append((metric, value, labels))

    def gauge(self, metric: str, value: float, **labels: str) -> None:
        self.observations.append((metric, value, labels))

    @contextmanager
    def span(
        self, name: str, *, parent: str = "", links: tuple[str, ...] = (), **attributes: Field
    ) -> Iterator[RecordingSpan]:
        span = RecordingSpan()
        span.attributes.update(attributes)
        self.spans.append((name, span))
        yield span

    def about(self, payment_id: str) -> None: ...


Answer = HttpReply | Fault | BaseException | Callable[[HttpRequest], HttpReply | Fault]


class ScriptedTransport:
    """Answers one after the other; remembers what was sent."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.sent: list[HttpRequest] = []

    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        await asyncio.sleep(0)
        self.sent.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, HttpReply | Fault) else answer(request)

    async def close(self) -> None:
        pass
