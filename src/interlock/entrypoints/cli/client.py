"""A small client of our own API, for commands that act on a running platform. It repeats what is safe to repeat."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.entrypoints.local import Ready

TRIES_MAX = 8
TIMEOUT_S = 30.0


class ApiError(Exception):
    """The platform refused, or could not be reached."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        faults = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", ()))
        super().__init__(faults or problem.get("detail") or f"HTTP {status}")
        self.status = status
        self.problem = problem


class ApiClient:
    """One connection, one token. Not for use by two threads at once."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._where = urllib.parse.urlsplit(ready.base_url)
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def get(self, path: str) -> Any:
        return self._send("GET", path, None, {})[1]

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> tuple[int, Any]:
        """With a key, repeated until there is an answer: the platform sees to it that it has effect once."""
        return self._send("POST", path, msgspec.json.encode(body), {"Idempotency-Key": key} if key else {})

    def token(self) -> str:
        """A fresh access token. Raises ApiError."""
        basic = b64encode(f"{self._ready.client_id}:{self._ready.client_secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        status, grant, _ = self._exchange("POST", "/oauth/token", b"grant_type=client_credentials", headers)
        if status != 200:
            why = grant.get("error_description") or grant.get("detail") or "no token"
            raise ApiError(status, {"detail": why})
        self._token = grant["access_token"]
        return self._token

    def _send(self, method: str, path: str, body: bytes | None, more: Mapping[str, str]) -> tuple[int, Any]:
        repeatable = method == "GET" or "Idempotency-Key" in more
        for attempt in range(1, TRIES_MAX + 1):
            token = self._token or self.token()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **more}
            status, answer, retry_after = self._exchange(method, path, body, headers)
            if status == 401 and attempt == 1:
                self._token = ""
                continue
            if status < 400:
                return status, answer
            again = status in (0, 429, 503) or answer.get("code") in ("request_in_flight", "write_conflict")
            if not (again and repeatable) or attempt == TRIES_MAX:
                raise ApiError(status, answer)
            time.sleep(min(retry_after or 0.2 * attempt, 5.0))
        raise ApiError(0, {"detail": "no answer"})

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Any, float | None]:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    self._where.hostname or "", self._where.port, timeout=TIMEOUT_S
                )
            self._connection.request(method, path, body, dict(headers))
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            return 0, {"detail": f"the platform cannot be reached: {error}"}, None
        retry_after = answer.getheader("Retry-After")
        try:
            parsed = msgspec.json.decode(content) if content else {}
        except msgspec.DecodeError:
            parsed = {"detail": f"HTTP {answer.status}, and not in JSON"}
            return answer.status if answer.status >= 400 else 502, parsed, None
        return answer.status, parsed, float(retry_after) if retry_after and retry_after.isdigit() else None
