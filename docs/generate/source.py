"""What only the source itself says: docstrings under fields, and codes given where errors are raised."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import interlock


def notes(module: ModuleType, class_name: str) -> dict[str, str]:
    """Field or member -> the docstring under it."""
    found: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for member, after in zip(node.body, node.body[1:], strict=False):
                name = _assigned(member)
                if name and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    found[name] = " ".join(str(after.value.value).split())
    return found


def raised_codes(errors: frozenset[str]) -> dict[str, set[str]]:
    """Error class -> the precise codes that the source gives it."""
    found: dict[str, set[str]] = {}
    for call in _calls():
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in errors:
            for keyword in call.keywords:
                if keyword.arg == "code":
                    found.setdefault(name, set()).update(_texts(keyword.value))
    return found


def fault_codes() -> set[str]:
    """Codes of single faults, as they are written where a Fault is made."""
    return {
        code
        for call in _calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Fault" and len(call.args) > 1
        for code in _texts(call.args[1])
    }


def _calls() -> Iterator[ast.Call]:
    for file in sorted(Path(interlock.__file__).parent.rglob("*.py")):
        if file.parts[-2] == "providers" or "simulator" in file.parts:
            continue  # their Fault is a failed call, not a fault of a request
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def _texts(node: ast.expr) -> Iterator[str]:
    """String constants of an expression's possible values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _assigned(node: ast.stmt) -> str:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""
