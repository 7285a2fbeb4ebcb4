"""Style, scripts and libraries, from our own origin; kept by browsers for as long as their content is the same."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from interlock.core.kernel.errors import NotFound
from interlock.entrypoints.console.pages import Asked, Page, Reply, Sent

OWN = Path(__file__).parent / "static"
LIBRARIES = Path(sys.prefix) / "share/interlock/console"
"""Where set-up puts what comes from npm."""
MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Static:
    """Files by name, read once."""

    def __init__(self) -> None:
        self._files = {
            path.name: path.read_bytes()
            for folder in (OWN, LIBRARIES)
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.suffix in MEDIA
        }
        self._marks = {name: hashlib.sha256(body).hexdigest()[:16] for name, body in self._files.items()}

    def address(self, name: str) -> str:
        """With the content's mark, so that a new release is a new address."""
        return f"/static/{name}?v={self._marks.get(name, '')}"

    def pages(self) -> list[Page]:
        async def file(asked: Asked) -> Reply:
            name = asked.params["name"]
            body = self._files.get(name)
            if body is None:
                raise NotFound("there is no such file")
            fresh = asked.query.get("v") == self._marks[name]
            kept = "public, max-age=31536000, immutable" if fresh else "no-cache"
            return Sent(body, MEDIA[Path(name).suffix], (("cache-control", kept), ("etag", f'"{self._marks[name]}"')))

        return [Page("GET", "/static/{name}", file, None)]
