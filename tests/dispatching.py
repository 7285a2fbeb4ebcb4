"""One request through the real dispatcher, without a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec


class Response(NamedTuple):
    status: int
    body: bytes
    headers: dict[bytes, bytes]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def dispatched(
    app: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    body: Any = None,
    *,
    token: str,
    kind: str = "application/json",
    more: Sequence[tuple[bytes, bytes]] = (),
) -> Response:
    """A bytes body goes as it is, any other as JSON. `more` are further headers."""
    path, _, query = target.partition("?")
    raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-length", str(len(raw)).encode())]
    headers += [(b"content-type", kind.encode())] if body is not None else []
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*headers, *more],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    answered = b"".join(message.get("body", b"") for message in sent[1:])
    return Response(sent[0]["status"], answered, dict(sent[0]["headers"]))
