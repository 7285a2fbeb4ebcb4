"""Bodies: read within a limit, decoded strictly, every fault named by where it stands."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from interlock.core.kernel.errors import Fault, Invalid, PayloadTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
FAULTS_MAX = 20
"""More faults than this are not listed."""
DETAIL_CHARACTERS_MAX = 300


class Disconnected(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises PayloadTooLarge as soon as more than `limit` bytes came, Disconnected.

    How long a body may take is the server's business, see `server.py`.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise too_large(limit)
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have at most {limit} bytes")


class BodyDecoder:
    """Decodes JSON into one type. Unknown fields, wrong types, repeated names and broken UTF-8 are refused.

    A name that stands twice in one object is refused because readers differ in which of the two they take.
    """

    __slots__ = ("_decode", "_kind")

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def decode(self, raw: bytes) -> Any:
        """Raises Invalid naming the faults."""
        try:
            try:
                body = self._decode(raw)
            except msgspec.ValidationError as error:
                return self._second_look(raw, error)
            _refuse_repeated_names(raw.decode())
            return body
        except _Repeated as repeated:
            fault = Fault("", "repeated_field", f"the name {repeated.args[0][:100]!r} stands twice in one object")
        except UnicodeDecodeError:
            fault = Fault("", "invalid_utf8", "the body is not UTF-8")
        except msgspec.DecodeError as error:
            fault = _fault(str(error), "") if "out of range" in str(error) else _malformed(error)
        except RecursionError:
            fault = Fault("", "nesting_too_deep", "the body is nested too deeply")
        raise Invalid(faults=(fault,))

    def _second_look(self, raw: bytes, first: msgspec.ValidationError) -> Any:
        """The decoder stops at the first fault; a person wants them all. And 12.0 is a whole number in JSON Schema."""
        msgspec.json.decode(raw)
        value = _decode_exactly(raw.decode())
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError:
            raise Invalid(faults=faults_of(value, self._kind, first)) from None


def faults_of(value: Any, kind: Any, first: msgspec.ValidationError, *, root: str = "") -> tuple[Fault, ...]:
    """Everything wrong with `value` as a `kind`, at most FAULTS_MAX; `first` is what the decoder said."""
    found: list[Fault] = []
    for fault in _faults(value, kind, root):
        found.append(fault)
        if len(found) == FAULTS_MAX:
            break
    return tuple(found) or (_fault(str(first), root),)


def escaped(name: str) -> str:
    """One reference token of an RFC 6901 pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _faults(value: Any, kind: Any, pointer: str) -> Iterator[Fault]:
    inner = _inner(kind, value)
    if inner is not None and isinstance(value, dict):
        before = True
        for fault in (
            _struct_faults(value, inner, pointer) if _is_struct(inner) else _item_faults(value, inner, pointer)
        ):
            before = False
            yield fault
        if not before:
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield _fault(str(error), pointer)


def _struct_faults(value: dict[str, Any], struct: Any, pointer: str) -> Iterator[Fault]:
    known = set()
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        known.add(name)
        if name in value:
            yield from _faults(value[name], field.type, f"{pointer}/{escaped(name)}")
        elif field.required:
            yield Fault(f"{pointer}/{escaped(name)}", "required", "this field is required")
    config = struct.__struct_config__
    if config.tag_field:
        known.add(config.tag_field)
    if config.forbid_unknown_fields:
        for name in value:
            if name not in known:
                yield Fault(f"{pointer}/{escaped(name[:100])}", "unknown_field", "there is no such field")


def _item_faults(value: dict[str, Any], mapping: Any, pointer: str) -> Iterator[Fault]:
    key_kind, item_kind = get_args(mapping)
    for key, item in value.items():
        where = f"{pointer}/{escaped(key[:100])}"
        yield from _faults(key, key_kind, where)
        yield from _faults(item, item_kind, where)


def _inner(kind: Any, value: Any) -> Any:
    """The Struct or mapping type within `kind` that a JSON object stands for, or None."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _inner(get_args(kind)[0], value)
    if origin is Union or origin is types.UnionType:
        structs = [found for part in get_args(kind) if (found := _inner(part, value)) is not None]
        return structs[0] if len(structs) == 1 else None
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return kind
    return kind if _is_struct(kind) else None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_MISSING = re.compile(r"missing required field `([^`]+)`")
CODES = (
    ("missing required field", "required"),
    ("unknown field", "unknown_field"),
    ("matching regex", "bad_format"),
    ("Invalid RFC3339", "bad_format"),
    ("timezone component", "bad_format"),
    ("Invalid enum value", "not_allowed"),
    ("out of range", "out_of_range"),
    ("of length", "bad_length"),
    (" >= ", "out_of_range"),
    (" <= ", "out_of_range"),
    (", got `", "wrong_type"),
)


def _fault(message: str, root: str) -> Fault:
    """What the decoder said, in our words: its `$.a.b` becomes the pointer /a/b."""
    place = _PLACE.search(message)
    pointer = root
    if place is not None:
        message = message[: place.start()]
        known = place["path"].partition("[...]")[0]
        pointer += "".join(f"/{escaped(step[1] or step[2])}" for step in _STEP.finditer(known))
    missing = _MISSING.search(message)
    if missing is not None:
        pointer += f"/{escaped(missing[1])}"
    code = next((code for words, code in CODES if words in message), "invalid")
    detail = message.replace("\\\\Z", "$")[:DETAIL_CHARACTERS_MAX]
    return Fault(pointer, code, detail)


def _malformed(error: msgspec.DecodeError) -> Fault:
    return Fault("", "malformed_json", str(error)[:DETAIL_CHARACTERS_MAX])


class _Repeated(Exception):
    """A name stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Repeated(name)
            seen.add(name)
    return found


def _whole(text: str) -> int | float:
    """A number written with a fraction or an exponent: an int if it is whole, exactly, and not astronomical."""
    number = Decimal(text)
    if number.adjusted() <= DIGITS_MAX and number == number.to_integral_value():
        return int(number)
    return float(text)


def _integer(text: str) -> int:
    return int(text[:DIGITS_MAX])


DIGITS_MAX = 25
"""A number of more digits is cut to so many: it stays above every limit there is."""
_refuse_repeated_names = json.JSONDecoder(object_pairs_hook=_object).decode
_decode_exactly = json.JSONDecoder(object_pairs_hook=_object, parse_float=_whole, parse_int=_integer).decode
