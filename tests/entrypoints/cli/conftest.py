"""What the tests of the command line share."""

import base64
import json
import time
import urllib.error
import urllib.request

import pytest

PATIENCE_S = 20.0


class Outside:
    """The platform from outside, and patience."""

    def holds(self, condition):
        """What `condition` gives once it gives anything."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never holds"
            time.sleep(0.05)
        return found

    def post(self, url: str, token: str, body, *, key: str = "") -> dict:
        return self._ask("POST", url, json.dumps(body).encode(), token, key)

    def delete(self, url: str, token: str) -> None:
        self._ask("DELETE", url, None, token)

    def logs_in(self, ready: dict, client_id: str, secret: str) -> bool:
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(ready["token_url"], b"grant_type=client_credentials", headers)
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def _ask(self, method: str, url: str, body: bytes | None, token: str, key: str = ""):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


@pytest.fixture(scope="session")
def until():
    return Outside()
