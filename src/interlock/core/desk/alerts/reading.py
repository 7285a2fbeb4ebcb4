"""Reading a stranger's JSON: every step strict about types, bounded in size, and able to say where it went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from interlock.core.desk.alerts.model import (
    FINGERPRINT_CHARACTERS_MAX,
    LABEL_CHARACTERS_MAX,
    LABEL_NAME_CHARACTERS_MAX,
    LABELS_CHARACTERS_MAX,
    LABELS_MAX,
    URL_CHARACTERS_MAX,
    AlertSeverity,
)
from interlock.core.kernel.clock import SECOND, Millis, parse_rfc3339
from interlock.core.kernel.errors import Fault, Invalid

ITEMS_MAX = 1_000
"""Names of one object that are looked at. No tool sends so many."""
TIME_END: Millis = 253_402_300_800_000
"""The year 10000."""


class Place(NamedTuple):
    """A value and where it stands in the body."""

    value: Any
    pointer: str

    def fault(self, code: str, detail: str) -> Invalid:
        return Invalid(faults=(Fault(self.pointer, code, detail),))

    def mapping(self) -> Mapping[str, Any]:
        if not isinstance(self.value, dict):
            raise self.fault("wrong_type", "an object is needed here")
        return self.value

    def at(self, name: str) -> Place:
        """The member of that name; a Place with None if there is none."""
        return Place(self.mapping().get(name), f"{self.pointer}/{name}")

    def items(self, *, most: int) -> list[Place]:
        """The elements of an array of 1 to `most`."""
        if not isinstance(self.value, list):
            raise self.fault("required" if self.value is None else "wrong_type", "an array is needed here")
        if not 1 <= len(self.value) <= most:
            raise self.fault("bad_length", f"an array of 1 to {most} is needed here")
        return [Place(value, f"{self.pointer}/{place}") for place, value in enumerate(self.value)]

    def text(self, *, most: int) -> str:
        """Text that says something, cut after `most` characters."""
        found = self.optional_text(most=most)
        if not found:
            raise self.fault("required", "text is needed here")
        return found

    def optional_text(self, *, most: int) -> str:
        """Empty for nothing and for null."""
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.fault("wrong_type", "text is needed here")
        return clean(self.value[: 2 * most])[:most]

    def fingerprint(self) -> str:
        """Empty if there is none. Never cut: two alerts must not look like one."""
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.fault("wrong_type", "text is needed here")
        return bounded_fingerprint(clean(self.value))

    def one_of(self, allowed: Mapping[str, Any]) -> Any:
        """What `allowed` says of the text that stands here."""
        word = self.text(most=LABEL_CHARACTERS_MAX)
        if word not in allowed:
            raise self.fault("not_allowed", f"one of {', '.join(allowed)} is needed here")
        return allowed[word]

    def time(self) -> Millis | None:
        """RFC 3339, or None where nothing or the year 1 stands: that is how Go writes no time at all."""
        if self.value is None or self.value == "":
            return None
        if not isinstance(self.value, str):
            raise self.fault("wrong_type", "an RFC 3339 time is needed here")
        try:
            if _TIME.fullmatch(self.value) is None:
                raise ValueError
            at = parse_rfc3339(self.value)
        except (ValueError, OverflowError):
            raise self.fault("bad_format", "an RFC 3339 time is needed here") from None
        return at if at >= 0 else None

    def url(self) -> str | None:
        """A link that may be shown, or None. What is no link is dropped: an alert is worth more than its link."""
        return safe_url(self.optional_text(most=URL_CHARACTERS_MAX + 1))

    def labels(self) -> dict[str, str]:
        """Name to text, in the order of names; not more than is kept, see `bounded_labels`."""
        if self.value is None:
            return {}
        found: list[tuple[str, str]] = []
        mapping = self.mapping()
        if len(mapping) > ITEMS_MAX:
            raise self.fault("bad_length", f"at most {ITEMS_MAX} labels are read")
        for name in sorted(mapping):
            place = Place(mapping[name], f"{self.pointer}/{_escaped(name[:100])}")
            if not isinstance(place.value, str):
                raise place.fault("wrong_type", "a label's value is text")
            found.append((name, place.value))
        return bounded_labels(found)


def decoded(raw: bytes) -> Place:
    """The body. Raises Invalid for what is no JSON."""
    try:
        return Place(msgspec.json.decode(raw), "")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(faults=(Fault("", "malformed_json", str(error)[:200]),)) from None
    except RecursionError:
        raise Invalid(faults=(Fault("", "nesting_too_deep", "the body is nested too deeply"),)) from None


def clean(text: str) -> str:
    """Without what could fool a screen: control characters, marks that turn the direction of writing, half characters."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()


def bounded_labels(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """As many as may be kept; of two with one name the first. The rest is dropped: an alert is worth more than its last label."""
    found: dict[str, str] = {}
    characters = 0
    for long_name, long_value in pairs:
        name = clean(long_name[:LABEL_NAME_CHARACTERS_MAX])
        value = clean(long_value[:LABEL_CHARACTERS_MAX])
        characters += len(name) + len(value)
        if len(found) == LABELS_MAX or characters > LABELS_CHARACTERS_MAX:
            break
        if name:
            found.setdefault(name, value)
    return found


def safe_url(text: str) -> str | None:
    """`text` if it is a plain http or https URL of a host, without credentials in it; else None."""
    if not text or len(text) > URL_CHARACTERS_MAX or not text.isascii() or any(c in text for c in " \"'<>\\^`{|}\n"):
        return None
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return None
    return text if fine else None


def bounded_fingerprint(*parts: str) -> str:
    """The parts joined; a digest of them when they are too long."""
    text = "/".join(parts)
    return text if len(text) <= FINGERPRINT_CHARACTERS_MAX else digest_of(text)


def digest_of(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def labels_digest(labels: Mapping[str, str]) -> str:
    return digest_of(*(part for name in sorted(labels) for part in (name, labels[name])))


def severity_of(word: str, otherwise: AlertSeverity = AlertSeverity.WARNING) -> AlertSeverity:
    """What people call a severity, as one of the four. A word nobody knows must not hide an alert: it is `otherwise`."""
    return _SEVERITIES.get(word.strip().lower(), otherwise)


def first_severity(words: Sequence[str]) -> AlertSeverity | None:
    """The first of the words that is one."""
    return next((_SEVERITIES[word.lower()] for word in words if word.lower() in _SEVERITIES), None)


def epoch_time(text: str) -> Millis | None:
    """Seconds or milliseconds since 1970, whichever the number can only be; None for what is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        return None
    number = int(text)
    at = number if number >= 100_000_000_000 else number * SECOND
    return at if at < TIME_END else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)
_WORDS = {
    AlertSeverity.CRITICAL: "critical crit page fatal emergency disaster sev0 sev1 p0 p1 s1",
    AlertSeverity.ERROR: "error err high major sev2 p2 s2",
    AlertSeverity.WARNING: "warning warn medium average minor sev3 p3 s3",
    AlertSeverity.INFO: "info information informational notice low none ok debug sev4 sev5 p4 p5 s4",
}
_SEVERITIES = {word: severity for severity, words in _WORDS.items() for word in words.split()}
