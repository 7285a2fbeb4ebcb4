"""What comes beside the body: headers and query parameters, each read strictly."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from interlock.core.kernel.errors import Fault, Invalid, UnsupportedMediaType
from interlock.entrypoints.http.bodies import escaped, faults_of

API_VERSION = "2026-12-01"
"""The only dated version there is."""
SINGLE = frozenset({b"authorization", b"content-type", b"content-length", b"idempotency-key", b"interlock-version"})
"""Headers that may stand once only: with two, readers differ in which they take."""

Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.DOTALL
)
IDEMPOTENCY_KEY_PATTERN = r'[!#-~](?:[ -~]{0,253}[!-~])?|"(?:[ !#-\[\]-~]|\\["\\]){1,255}"'
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
_CHARSET = re.compile(r'charset\s*=\s*"?utf-?8"?', re.IGNORECASE)


def refuse_repeated(headers: Headers) -> None:
    """Raises Invalid for a header that may stand once only and stands twice."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in SINGLE and name in seen:
            raise header_fault(name.decode(), "repeated", "this header may be sent once only")
        seen.add(name)


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The caller's X-Request-Id, or empty if there is none that may be echoed."""
    value = headers.get(b"x-request-id")
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) else ""


def traceparent_of(headers: Mapping[bytes, bytes]) -> str:
    """The caller's W3C traceparent, or empty if there is none or it breaks the rules.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header (checked 2026-11-21)
    """
    value = headers.get(b"traceparent")
    if value is None:
        return ""
    found = _TRACEPARENT.fullmatch(value)
    if found is None or (found[1] == b"00" and found[2] is not None):
        return ""
    return value[:55].decode()


def check_version(headers: Mapping[bytes, bytes]) -> None:
    """Raises Invalid for an Interlock-Version that does not exist."""
    value = headers.get(b"interlock-version")
    if value is not None and value != b"2026-12-01":
        raise header_fault("Interlock-Version", "unknown_version", f"the versions are: {API_VERSION}")


def idempotency_key_of(headers: Mapping[bytes, bytes]) -> str:
    """The key, plain or as the draft's quoted string: 1 to 255 printable ASCII characters.

    Raises Invalid if it is missing or malformed. `"k"` and `k` are the same key.
    Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ (checked 2026-11-21)
    """
    value = headers.get(b"idempotency-key")
    if value is None:
        raise header_fault("Idempotency-Key", "required", "this request moves money and needs an idempotency key")
    text = value.decode("latin-1")
    if not _IDEMPOTENCY_KEY.fullmatch(text):
        raise header_fault("Idempotency-Key", "bad_format", "an idempotency key is 1 to 255 printable ASCII characters")
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text


def content_length_of(headers: Mapping[bytes, bytes]) -> int | None:
    """Bytes announced, None if the body comes in chunks, 0 if there is none."""
    value = headers.get(b"content-length")
    if value is not None:
        return int(value) if value.isdigit() else None
    return None if b"transfer-encoding" in headers else 0


def check_media_type(value: bytes | None, accepted: tuple[str, ...]) -> None:
    """Raises UnsupportedMediaType unless the Content-Type is one of `accepted`, in UTF-8."""
    if value is None:
        raise UnsupportedMediaType(f"a Content-Type is needed: {' or '.join(accepted)}")
    essence, _, parameters = value.decode("latin-1").partition(";")
    if essence.strip().lower() not in accepted:
        raise UnsupportedMediaType(f"the body must be {' or '.join(accepted)}")
    parameters = parameters.strip()
    if parameters and not _CHARSET.fullmatch(parameters):
        raise UnsupportedMediaType("the only parameter taken is charset=utf-8")


def header_fault(name: str, code: str, detail: str) -> Invalid:
    return Invalid(faults=(Fault(f"/header/{name}", code, detail),))


class QueryDecoder:
    """Turns a query string into one Struct: every parameter known, given once, and written as its type is written."""

    __slots__ = ("_kind", "_numbers", "_switches")

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        fields = msgspec.structs.fields(kind)
        self._numbers = frozenset(field.encode_name for field in fields if _holds(field.type, int))
        self._switches = frozenset(field.encode_name for field in fields if _holds(field.type, bool))

    def decode(self, query: bytes) -> Any:
        """Raises Invalid naming the parameters at fault, as /query/name."""
        values: dict[str, Any] = {}
        for name, text in query_pairs(query):
            if name in values:
                raise Invalid(faults=(Fault(f"/query/{escaped(name)}", "repeated", "given twice"),))
            values[name] = self._read(name, text)
        try:
            return msgspec.convert(values, self._kind)
        except msgspec.ValidationError as error:
            raise Invalid(faults=faults_of(values, self._kind, error, root="/query")) from None

    def _read(self, name: str, text: str) -> Any:
        if name in self._numbers and _NUMBER.fullmatch(text):
            return int(text)
        if name in self._switches and text in _SWITCH:
            return _SWITCH[text]
        return text


_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_SWITCH = {"true": True, "false": False}


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """Raises Invalid for a query that is not form-encoded UTF-8 or has too many parameters."""
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=50
        )
    except ValueError:
        raise Invalid(faults=(Fault("/query", "malformed", "the query is not well-formed"),)) from None


def refuse_query(query: bytes) -> None:
    """For a route without parameters. Raises Invalid naming those given."""
    raise Invalid(
        faults=tuple(
            Fault(f"/query/{escaped(name[:100])}", "unknown_field", "there is no such parameter")
            for name, _ in query_pairs(query)
        )
    )


def _holds(kind: Any, wanted: Callable[..., Any]) -> bool:
    origin = get_origin(kind)
    if origin is Annotated:
        return _holds(get_args(kind)[0], wanted)
    if origin is Union or origin is types.UnionType:
        return any(_holds(part, wanted) for part in get_args(kind))
    return kind is wanted
