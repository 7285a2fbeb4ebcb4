"""YAML text as nodes with their lines, without ever making objects of it.

Read from the parser's events, so that nothing is expanded: an alias is refused where it stands. Scalars keep their text as it was
written: 0.995 is those five characters, and no float. Refused: more than `BYTES_MAX`, more than `DEPTH_MAX` levels, aliases,
anchors, tags, a key twice, keys that are not plain words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

# No stubs are needed for what is used here; where they are installed, the second word keeps this line quiet.
import yaml  # type: ignore[import-untyped,unused-ignore]

from interlock.core.kernel.errors import Fault

BYTES_MAX = 1_000_000
DEPTH_MAX = 20
FAULTS_MAX = 100
"""More are not looked for: they are those of another file."""


class Scalar(NamedTuple):
    line: int
    """From 1."""
    text: str
    kind: str
    """str, int, float, bool, null or timestamp: how YAML 1.1 reads it."""


class Listing(NamedTuple):
    line: int
    items: tuple[Node, ...]


class Table(NamedTuple):
    line: int
    fields: dict[str, tuple[int, Node]]
    """By key: the key's line and what stands there."""


Node = Scalar | Listing | Table


class Faults:
    """Everything wrong so far, up to `FAULTS_MAX`. A repeated pointer and code is told once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, Fault]] = {}

    def add(self, pointer: str, code: str, reason: str, *, line: int) -> None:
        if not self.is_full:
            self._found.setdefault((pointer, code), (line, Fault(pointer, code, f"line {line}: {reason}")))

    @property
    def is_full(self) -> bool:
        return len(self._found) >= FAULTS_MAX

    @property
    def listed(self) -> tuple[Fault, ...]:
        """By line, then as found."""
        return tuple(fault for _, fault in sorted(self._found.values(), key=_line))


def read_documents(text: str, faults: Faults) -> list[Node]:
    """The file's documents, without the empty ones. What cannot be read as YAML at all is a fault and ends the reading."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        faults.add("", "not_text", "not Unicode text", line=text.count("\n", 0, error.start) + 1)
        return []
    if size > BYTES_MAX:
        faults.add("", "too_large", f"{size} bytes; {BYTES_MAX} is the most", line=1)
        return []
    try:
        return list(_documents(_events(text), faults))
    except yaml.YAMLError as error:
        line, reason = _place(error, text)
        faults.add("", "not_yaml", reason, line=line)
    except _TooDeep as error:
        faults.add(error.pointer, "too_deep", f"more than {DEPTH_MAX} levels", line=error.line)
    return []


class _TooDeep(Exception):
    def __init__(self, pointer: str, line: int) -> None:
        super().__init__(pointer)
        self.pointer = pointer
        self.line = line


def _events(text: str) -> Iterator[Any]:
    # The parser in C is some thirty times as fast and reads the same; it is not in every build of the library.
    yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _documents(events: Iterator[Any], faults: Faults) -> Iterator[Node]:
    count = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            node = _node(next(events), events, faults, f"/{count}", 0)
            if node is not None and not (isinstance(node, Scalar) and node.kind == "null"):
                count += 1
                yield node


def _node(event: Any, events: Iterator[Any], faults: Faults, pointer: str, depth: int) -> Node | None:
    """The node that begins with `event`; None for one that is refused as a whole."""
    line = event.start_mark.line + 1
    if depth > DEPTH_MAX:
        raise _TooDeep(pointer, line)
    if isinstance(event, yaml.AliasEvent):
        faults.add(pointer, "alias", "aliases (*name) are not read; write it out", line=line)
        return None
    if event.anchor is not None:
        faults.add(pointer, "anchor", "anchors (&name) are not read; write it out", line=line)
    if event.tag is not None:
        faults.add(pointer, "tag", f"tags ({event.tag}) are not read", line=line)
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(line, event.value, _kind(event))
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            node = _node(event, events, faults, f"{pointer}/{len(items)}", depth + 1)
            items.append(Scalar(line, "", "refused") if node is None else node)
        return Listing(line, tuple(items))
    return _table(line, events, faults, pointer, depth)


def _table(line: int, events: Iterator[Any], faults: Faults, pointer: str, depth: int) -> Table:
    fields: dict[str, tuple[int, Node]] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key_line = event.start_mark.line + 1
        key = _node(event, events, faults, pointer, depth + 1)
        name = key.text if isinstance(key, Scalar) else ""
        below = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        value = _node(next(events), events, faults, below, depth + 1)
        if not isinstance(key, Scalar):
            faults.add(pointer, "bad_key", "a key is one word", line=key_line)
        elif name in fields:
            faults.add(below, "repeated", f"{name} stands here twice, first on line {fields[name][0]}", line=key_line)
        else:
            fields[name] = (key_line, Scalar(key_line, "", "refused") if value is None else value)
    return Table(line, fields)


def _kind(event: Any) -> str:
    resolved: str = _resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    return resolved.rpartition(":")[2]


def _place(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line and the parser's own words."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        # The parser in C sees an end of the file one line too late.
        return min(mark.line, text.count("\n")) + 1, getattr(error, "problem", None) or "not YAML"
    position = getattr(error, "position", 0)
    return text.count("\n", 0, position) + 1, getattr(error, "reason", None) or "not YAML"


def _line(found: tuple[int, Fault]) -> int:
    return found[0]


_resolver = yaml.resolver.Resolver()
