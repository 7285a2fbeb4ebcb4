"""Somebody at the console, as a browser asks: cookies that scripts do not see, a form's token, and where a request comes from."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urlencode


class Answer(NamedTuple):
    status: int
    location: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Person:
    """`base` is where the API answers here, `origin` the address people know it by."""

    def __init__(self, base: str, origin: str) -> None:
        self._base, self._origin = base, origin
        self.cookies: dict[str, str] = {}
        self._opener = urllib.request.build_opener(_Stays)

    def sign_in(self, name: str, password: str) -> None:
        answer = self.post("/console/sign-in", {"name": name, "password": password})
        assert (answer.status, answer.location) == (303, "/console"), answer

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {"sec-fetch-site": "same-origin"})

    def head(self, path: str) -> Answer:
        return self._ask("HEAD", path, None, {"sec-fetch-site": "same-origin"})

    def post(self, path: str, form: dict[str, str], *, page: str = "", origin: str = "") -> Answer:
        """`page`: whose form it is, for its token."""
        if page:
            token = re.search(r'name="csrf" value="(\w+)"', self.get(page).text)
            assert token is not None, page
            form = {"csrf": token[1], **form}
        headers = {"origin": origin or self._origin, "content-type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(form).encode(), headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        request = urllib.request.Request(self._base + path, body, headers, method=method)
        try:
            answer = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            for line in answer.headers.get_all("set-cookie") or ():
                name, _, value = line.partition(";")[0].partition("=")
                assert all(word in line for word in ("HttpOnly", "Secure", "SameSite=Lax")), line
                self.cookies[name] = value
            kept = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, kept.get("location", ""), kept, answer.read())


class _Stays(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *_: object) -> None:
        return None
