"""A stand-in for a schema registry, over real HTTP: as much of its API as we call, and one rule of compatibility.

No real registry is at hand. It answers with the statuses and bodies of Confluent's; its rule is only that a property once
required stays so and that none of its types change.
Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html (checked 2026-11-27)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Registered:
    def __init__(self) -> None:
        self.subjects: dict[str, list[str]] = {}
        self.authorisations: set[str | None] = set()
        self.refuses_credentials = False

    def number(self, schema: str) -> int:
        known = sorted({one for versions in self.subjects.values() for one in versions})
        return 100 + known.index(schema)


@contextmanager
def running_registry() -> Iterator[tuple[str, Registered]]:
    registered = Registered()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            registered.authorisations.add(self.headers.get("Authorization"))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            subject, _, action = self.path.partition("?")[0].removeprefix("/subjects/").partition("/")
            if registered.refuses_credentials:
                self._answer(401, {"error_code": 401, "message": "Unauthorized"})
                return
            versions = registered.subjects.setdefault(subject, [])
            if action == "versions" and asked["schema"] not in versions:
                if versions and not _compatible(json.loads(versions[-1]), json.loads(asked["schema"])):
                    self._answer(409, {"error_code": 409, "message": "Schema being registered is incompatible"})
                    return
                versions.append(asked["schema"])
            if asked["schema"] not in versions:
                self._answer(404, {"error_code": 40403, "message": "Schema not found"})
                return
            number, version = registered.number(asked["schema"]), 1 + versions.index(asked["schema"])
            self._answer(200, {"subject": subject, "id": number, "version": version, **asked})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", registered
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _compatible(old: dict[str, Any], new: dict[str, Any]) -> bool:
    kept = all(new["properties"].get(name) == shape for name, shape in old["properties"].items())
    return kept and set(old["required"]) <= set(new["required"])
