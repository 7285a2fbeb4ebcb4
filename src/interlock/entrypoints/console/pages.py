"""What a page is: a method and a path, who may, and a function from a request to a reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from interlock.core.desk.operators.handlers import SignedIn
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Fault, Invalid, MethodNotAllowed, NotFound

FIELDS_MAX = 60
FIELD_CHARS_MAX = 20_000
"""Of one field, where a page does not say otherwise."""
FORM_BYTES_MAX = 262_144
ENCODED_MAX = 3
"""Bytes that a character of a form takes at most; of those outside ASCII fewer fit."""
CHOICES_MAX = 1_000
"""Merchants that a form proposes; any other may be typed."""
ROOT = "/console"


class Asked(NamedTuple):
    """One request that passed every check."""

    who: SignedIn | None
    """None on the few pages that are shown to anybody."""
    params: Mapping[str, str]
    """Of the path."""
    query: Mapping[str, str]
    """The first value of each parameter; empty ones are left out."""
    form: Mapping[str, str]
    now: Millis
    is_fragment: bool
    """htmx asks, and puts what it gets into a page that is there."""
    cookie: str
    errand: str
    """The cookie of a sign-in at an issuer that was begun here."""
    address: str
    """Path and query, for coming back."""
    client: str
    """Address it comes from, as far as the server knows; empty: it does not."""

    @property
    def me(self) -> SignedIn:
        assert self.who is not None, "a page for anybody knows nobody"
        return self.who

    def with_query(self, **changes: str | None) -> str:
        """The query with these parameters changed, or taken out; begins with a question mark."""
        changed = {**self.query, **changes}
        return "?" + urlencode({name: value for name, value in changed.items() if value})


class Shown(NamedTuple):
    """A template and what goes into it."""

    template: str
    context: Mapping[str, Any]
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()


class Sent(NamedTuple):
    """Bytes as they are."""

    body: bytes
    media_type: str
    headers: Sequence[tuple[str, str]] = ()
    status: int = 200


class Went(NamedTuple):
    """Done; the browser goes on to another page, which says `said`."""

    to: str
    said: str = ""
    headers: Sequence[tuple[str, str]] = ()


Reply = Shown | Sent | Went
Endpoint = Callable[[Asked], Awaitable[Reply]]


class Page(NamedTuple):
    method: str
    path: str
    """Behind ROOT; `{name}` stands for one segment."""
    endpoint: Endpoint
    permission: Permission | None
    """None: anybody may, signed in or not."""
    field_chars: int = FIELD_CHARS_MAX
    """The longest field of its form."""

    @property
    def form_bytes(self) -> int:
        if self.field_chars <= FIELD_CHARS_MAX:
            return FORM_BYTES_MAX
        return FORM_BYTES_MAX + ENCODED_MAX * self.field_chars


class Pages:
    """Finds the page of a method and a path."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.every = tuple(pages)
        self._by_shape: dict[int, list[tuple[list[str], Page]]] = {}
        for page in pages:
            parts = page.path.split("/")
            self._by_shape.setdefault(len(parts), []).append((parts, page))

    def find(self, method: str, path: str) -> tuple[Page, Mapping[str, str]]:
        """Literal segments win over parameters. Raises NotFound, MethodNotAllowed."""
        segments = path.split("/")
        fitting = []
        for parts, page in self._by_shape.get(len(segments), []):
            params = _fit(parts, segments)
            if params is not None:
                fitting.append((len(params), page, params))
        fitting.sort(key=lambda one: one[0])
        if not fitting:
            raise NotFound("there is no such page")
        for number, page, params in fitting:
            if page.method == method and number == fitting[0][0]:
                return page, params
        raise MethodNotAllowed("this page cannot be asked for so")


def _fit(parts: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    params = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            if not segment or len(segment) > 200:
                return None
            params[part[1:-1]] = segment
        elif part != segment:
            return None
    return params


def pairs_of(text: str, where: str, field_chars: int = FIELD_CHARS_MAX) -> dict[str, str]:
    """A query or a form: the first value of each name; empty ones are left out. Raises Invalid."""
    try:
        pairs = parse_qsl(text, keep_blank_values=False, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        raise Invalid(faults=(Fault(where, "malformed", "this cannot be read"),)) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if len(value) > field_chars:
            raise Invalid(faults=(Fault(f"{where}/{name[:50]}", "too_long", "this is too long"),))
        found.setdefault(name, value)
    return found
