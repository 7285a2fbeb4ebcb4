"""A merchant's endpoint for webhooks, on a thread of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


class Merchant:
    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        self.refuses = False
        """Answer 500 to everything."""
        self.heard: list[tuple[str, str]] = []
        """(type of the event, id of the payment), of what was signed and taken, each event once."""
        self._events: set[str] = set()

    def take(self, headers: Any, body: bytes) -> int:
        if self.refuses:
            return 500
        Webhook(self.secret).verify(body, {name.lower(): value for name, value in headers.items()})
        event = json.loads(body)
        if headers["webhook-id"] not in self._events:
            self._events.add(headers["webhook-id"])
            self.heard.append((event["type"], event["data"].get("payment", {}).get("id", "")))
        return 200


@contextmanager
def listening() -> Iterator[Merchant]:
    merchant = Merchant()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_echo = self.path == "/echo"
            self.send_response(200 if is_echo else merchant.take(self.headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    merchant.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield merchant
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
