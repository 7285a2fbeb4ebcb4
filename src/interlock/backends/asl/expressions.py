"""JSONata in a definition: compiled when the definition is read, evaluated against `$states` and the variables.

A function that gives something else each time is refused, so that a state begun twice comes to the same.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from interlock.core.kernel.workflows import Json

_limit = sys.getrecursionlimit()
import jsonata  # noqa: E402
from jsonata.utils import Utils  # noqa: E402

sys.setrecursionlimit(_limit)
"""The library raises the whole process's limit when it is loaded. Ours is what ends bodies nested too deeply."""

Template = Any
"""JSON whose texts between {% and %} have become Expressions."""

FUNCTIONS = frozenset(
    {"abs", "append", "average", "base64decode", "base64encode", "boolean", "ceil", "contains", "count", "distinct"}
    | {"each", "error", "assert", "exists", "filter", "floor", "formatNumber", "fromMillis", "join", "keys", "length"}
    | {"lookup", "lowercase", "map", "match", "max", "merge", "min", "not", "number", "pad", "parse", "power", "reduce"}
    | {"replace", "reverse", "round", "sift", "single", "sort", "split", "spread", "sqrt", "string", "substring"}
    | {"substringAfter", "substringBefore", "sum", "toMillis", "trim", "type", "uppercase", "zip"}
)
_CALL = re.compile(r"\$(\w+)\s*\(")
_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_UNKNOWN_CONTEXT = re.compile(r"\$states\.context\.(?!Execution\.(?:Id|Name|StartTime)\b|StateMachine\.Name\b|Task\.Token\b"
                              r"|Map\.Item\.(?:Index|Value)\b|State\.(?:Name|RetryCount)\b)[\w.]+")  # fmt: skip


class NotEvaluated(Exception):
    """An expression that came to nothing, or could not be worked out; in words."""


class Expression:
    def __init__(self, text: str) -> None:
        """Raises ValueError with what is wrong."""
        self.text = text
        bare = _TEXT.sub('""', text)
        if unknown := sorted({name for name in _CALL.findall(bare) if name not in FUNCTIONS}):
            raise ValueError(f"${unknown[0]}() is not implemented")
        if strange := _UNKNOWN_CONTEXT.search(bare):
            raise ValueError(f"{strange[0]} is not implemented")
        self._compiled = _compiled(text)
        self._is_there = _compiled(f"$exists(({text}))")

    def evaluate(self, states: Mapping[str, Json], variables: Mapping[str, Json]) -> Json:
        """Raises NotEvaluated, also for what is nothing at all, which JSON cannot say."""
        bindings = {name: Utils.NULL_VALUE if value is None else value for name, value in variables.items()}
        bindings["states"] = dict(states)
        try:
            value = self._compiled.evaluate(None, bindings)
            if value is None and not self._is_there.evaluate(None, bindings):
                raise NotEvaluated(f"{self.text} comes to nothing")
            return json.loads(json.dumps(value, allow_nan=False))
        except NotEvaluated:
            raise
        except Exception as error:  # whatever the library raises for an expression that does not fit its values
            raise NotEvaluated(f"{self.text}: {error}") from error


def _compiled(text: str) -> Any:
    try:
        expression = jsonata.Jsonata.jsonata(text)
    except Exception as error:  # the library's own exceptions, and those of its parser
        raise ValueError(f"no JSONata: {error}") from error
    expression.register_lambda("parse", json.loads)
    return expression


def is_expression(value: Json) -> bool:
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def template(value: Json) -> Template:
    """Raises ValueError with what is wrong."""
    if is_expression(value):
        return Expression(value[2:-2].strip())
    if isinstance(value, dict):
        return {name: template(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [template(inner) for inner in value]
    return value


def fill(value: Template, states: Mapping[str, Json], variables: Mapping[str, Json]) -> Json:
    """Raises NotEvaluated."""
    if isinstance(value, Expression):
        return value.evaluate(states, variables)
    if isinstance(value, dict):
        return {name: fill(inner, states, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, states, variables) for inner in value]
    return value
