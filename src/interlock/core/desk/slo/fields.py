"""Reading the fields of a document: each asks for one kind of thing and says what is wrong if another stands there.

A question that meets a fault answers with nothing ("" or an empty list), so that reading goes on and finds the next fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from interlock.core.desk.slo.model import Ratio, ratio
from interlock.core.desk.slo.yaml_nodes import Faults, Listing, Node, Scalar, Table

NAME_MAX = 63
DESCRIPTION_MAX = 1_050
_NONE: Mapping[str, str] = MappingProxyType({})


class Place(NamedTuple):
    """Something that stands somewhere in the file."""

    pointer: str
    line: int
    node: Node
    faults: Faults

    def wrong(self, code: str, reason: str) -> None:
        self.faults.add(self.pointer, code, reason, line=self.line)

    @property
    def is_refused(self) -> bool:
        """Its fault is told already."""
        return isinstance(self.node, Scalar) and self.node.kind == "refused"


Fields = dict[str, Place]


def fields(
    place: Place,
    *,
    known: Collection[str],
    required: Collection[str] = (),
    refused: Mapping[str, str] = _NONE,
) -> Fields:
    """The known fields that are there, by name. `refused` has reasons for fields that OpenSLO knows and we do not take."""
    node = place.node
    if not isinstance(node, Table):
        if not place.is_refused:
            place.wrong("not_a_table", "fields are expected here")
        return {}
    found: Fields = {}
    for name, (line, value) in node.fields.items():
        below = Place(f"{place.pointer}/{name.replace('~', '~0').replace('/', '~1')}", line, value, place.faults)
        if name in refused:
            below.wrong("not_supported", refused[name])
        elif name not in known:
            below.wrong("unknown_field", f"{name} is not a field here; known are {', '.join(sorted(known))}")
        else:
            found[name] = below
    for name in required:
        if name not in found and name not in node.fields:
            place.faults.add(f"{place.pointer}/{name}", "missing", f"{name} is missing", line=place.line)
    return found


def items(place: Place | None) -> list[Place]:
    """The entries of a list."""
    if place is None:
        return []
    if not isinstance(place.node, Listing):
        if not place.is_refused:
            place.wrong("not_a_list", "a list is expected here")
        return []
    return [Place(f"{place.pointer}/{i}", one.line, one, place.faults) for i, one in enumerate(place.node.items)]


def text(place: Place | None, *, longest: int = DESCRIPTION_MAX) -> str:
    """Text of at most `longest` characters. What YAML takes for a number or a truth value has to stand in quotes."""
    found = scalar(place)
    if place is None or found is None:
        return ""
    if found.kind != "str":
        place.wrong("not_text", f"{found.text or 'nothing'} is not text to YAML; put it in quotes")
        return ""
    if len(found.text) > longest:
        place.wrong("too_long", f"{len(found.text)} characters; {longest} is the most")
        return ""
    if not found.text.strip():
        place.wrong("empty", "text is expected here")
        return ""
    return found.text


def name(place: Place | None) -> str:
    """A name as RFC 1123 has it: at most 63 of a-z, 0-9 and -, with a letter or digit at both ends."""
    found = text(place)
    if place is not None and found and not _NAME.fullmatch(found):
        place.wrong("bad_name", f"a name has at most {NAME_MAX} of a-z, 0-9 and -, a letter or digit at both ends")
        return ""
    return found


def word(place: Place | None, allowed: Collection[str], *, refused: Mapping[str, str] = _NONE) -> str:
    """One of `allowed`. `refused` has reasons for words that others know."""
    found = text(place)
    if place is None or not found:
        return ""
    if found in refused:
        place.wrong("not_supported", refused[found])
        return ""
    if found not in allowed:
        place.wrong("unknown_word", f"{found} is none of {', '.join(sorted(allowed))}")
        return ""
    return found


def truth(place: Place | None, *, otherwise: bool | None) -> bool | None:
    """true or false; `otherwise` if it is not there."""
    found = scalar(place)
    if place is None or found is None:
        return otherwise
    if found.kind != "bool" or found.text.lower() not in ("true", "false"):
        place.wrong("not_a_truth", f"true or false, not {found.text}")
        return otherwise
    return found.text.lower() == "true"


def whole(place: Place | None, *, most: int) -> int | None:
    """A whole number from 1."""
    found = scalar(place)
    if place is None or found is None:
        return None
    if not _WHOLE.fullmatch(found.text) or not 1 <= int(found.text) <= most:
        place.wrong("not_a_number", f"a whole number from 1 to {most}")
        return None
    return int(found.text)


def decimal(place: Place | None, *, places_max: int) -> Ratio | None:
    """A plain decimal, exactly as written: 0.995 is 199/200."""
    found = scalar(place)
    if place is None or found is None:
        return None
    match = _DECIMAL.fullmatch(found.text)
    if match is None:
        place.wrong("not_a_number", f"{found.text[:40] or 'nothing'} is not a plain decimal such as 0.995")
        return None
    digits = (match[2] or "").rstrip("0")
    if len(digits) > places_max:
        place.wrong("too_fine", f"at most {places_max} digits after the point")
        return None
    return ratio(int((match[1] or "0") + digits), 10 ** len(digits))


def scalar(place: Place | None) -> Scalar | None:
    if place is None:
        return None
    if not isinstance(place.node, Scalar):
        place.wrong("not_a_value", "a single value is expected here")
        return None
    return None if place.is_refused else place.node


_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_WHOLE = re.compile(r"[1-9][0-9]{0,9}")
_DECIMAL = re.compile(r"([0-9]{0,9})(?:\.([0-9]{1,30}))?(?<=[0-9])")
