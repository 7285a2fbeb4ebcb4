"""House rules that a program can check: each a function from one source file to what is wrong in it.

A finding is the place within the file (a function, a class, a module imported; empty for the file itself) and what is wrong.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

HOMELESS = frozenset(
    {"common", "commons", "helper", "helpers", "manager", "managers", "misc", "service", "services", "shared"}
    | {"stuff", "util", "utils"}
)
"""What a thing is called that has not found its home yet."""


class Source(NamedTuple):
    path: str
    """From the root of the repository, with `/`."""
    text: str
    tree: ast.Module


class Finding(NamedTuple):
    place: str
    wrong: str


Rule = Callable[[Source], Iterator[Finding]]


def source(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text))


@functools.cache
def read(root: Path, folder: str) -> list[Source]:
    """Every Python file below a folder."""
    found = sorted((root / folder).rglob("*.py"))
    assert found, f"there is no source in {folder}"
    return [source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in found]


# -- what may stand in any source file ---------------------------------------------------------------------------------


def file_is_of_readable_size(s: Source) -> Iterator[Finding]:
    lines = s.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield Finding("", f"{lines} lines; about {FILE_LINES_MAX} is the most")


def functions_are_of_readable_size(s: Source) -> Iterator[Finding]:
    for name, node in functions(s.tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield Finding(name, f"{lines} lines; about {FUNCTION_LINES_MAX} is the most")


def names_have_a_home(s: Source) -> Iterator[Finding]:
    """No file, folder or class is called by what it lacks."""
    for part in PurePosixPath(s.path).with_suffix("").parts:
        if HOMELESS & set(words(part)):
            yield Finding("", f"{part} says nothing of what is in it")
    for node in ast.walk(s.tree):
        if isinstance(node, ast.ClassDef) and HOMELESS & set(words(node.name)):
            yield Finding(node.name, f"{node.name} says nothing of what it is")


def environment_is_read_at_the_edge(s: Source) -> Iterator[Finding]:
    for node in ast.walk(s.tree):
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        imported = isinstance(node, ast.ImportFrom) and node.module == "os"
        reads = {"environ", "environb", "getenv", "getenvb"}
        if named and isinstance(node, ast.Attribute) and node.attr in reads:
            yield Finding(enclosing(s.tree, node), f"reads os.{node.attr}")
        if imported and isinstance(node, ast.ImportFrom) and reads & {alias.name for alias in node.names}:
            yield Finding("", "imports the environment")


def broad_handlers_say_why(s: Source) -> Iterator[Finding]:
    """Whatever catches everything either raises again or has a comment beside it."""
    comments = {number for number, text in comment_lines(s.text) if not text.startswith("# noqa")}
    for node in ast.walk(s.tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not isinstance(node.body[-1], ast.Raise):
            beside = range(node.lineno - 1, node.body[0].lineno + 1)
            if not comments & set(beside):
                yield Finding(enclosing(s.tree, node), "catches everything and does not say why")


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds)


# -- what may stand in core --------------------------------------------------------------------------------------------


def money_is_whole(s: Source) -> Iterator[Finding]:
    """No float, no float's name and no division that makes one."""
    for node in ast.walk(s.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield Finding(enclosing(s.tree, node), f"holds the float {node.value}")
        elif isinstance(node, ast.Name) and node.id in ("float", "Decimal"):
            yield Finding(enclosing(s.tree, node), f"speaks of {node.id}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield Finding(enclosing(s.tree, node), "divides with /")


PURE = frozenset(
    {
        "__future__",
        "base64",
        "bisect",
        "collections",
        "contextlib",
        "csv",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "heapq",
    }
    | {
        "hmac",
        "interlock",
        "ipaddress",
        "itertools",
        "math",
        "msgspec",
        "operator",
        "re",
        "types",
        "typing",
        "urllib",
        "yaml",
        "zlib",
    }
)
"""What core may import: only values come out of it, the same every time. `csv` formats; `urllib` stands for `urllib.parse`;
`yaml` makes nodes of text."""
IMPURE_CALLS = frozenset(
    {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
    | {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
)


def core_is_pure(s: Source) -> Iterator[Finding]:
    """import-linter forbids by name what we thought of; this allows by name, and looks at calls that need no import."""
    for node in ast.walk(s.tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        for module in modules:
            if module.partition(".")[0] not in PURE or (module.startswith("urllib") and module != "urllib.parse"):
                yield Finding(enclosing(s.tree, node), f"imports {module}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_CALLS:
            yield Finding(enclosing(s.tree, node), f"calls {ast.unparse(node.func)}")


def port_methods_are_documented(s: Source) -> Iterator[Finding]:
    for node in ast.walk(s.tree):
        if isinstance(node, ast.ClassDef) and is_protocol(node):
            for name, method in functions(node):
                if not name.startswith("_") and ast.get_docstring(method) is None:
                    yield Finding(f"{node.name}.{name}", "a method of a port without its promise")


def is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


# -- what may stand in tests -------------------------------------------------------------------------------------------


def functions_alone_are_tests(s: Source) -> Iterator[Finding]:
    for node in s.tree.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield Finding(node.name, "a class of tests")
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.name.startswith("test") and not _TEST_NAME.fullmatch(node.name):
            yield Finding(node.name, "does not read as test_<situation>_<outcome>")


_TEST_NAME = re.compile(r"test_[a-z0-9]+(_[a-z0-9]+)+")


def nothing_is_passed_over(s: Source) -> Iterator[Finding]:
    for node in ast.walk(s.tree):
        if isinstance(node, ast.Attribute) and node.attr in ("skip", "skipif", "xfail", "importorskip"):
            yield Finding(enclosing(s.tree, node), f"uses {ast.unparse(node)}")
        imported = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if imported & {"skip", "xfail", "importorskip", "skipIf", "SkipTest"}:
            yield Finding("", "imports the means to pass tests over")


def nothing_sleeps(s: Source) -> Iterator[Finding]:
    """`asyncio.sleep(0)` lets others run and is no waiting."""
    for node in ast.walk(s.tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("asyncio.sleep", "time.sleep", "sleep")):
            continue
        zero = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if not zero:
            yield Finding(enclosing(s.tree, node), f"waits: {ast.unparse(node)}")


# -- reading the tree --------------------------------------------------------------------------------------------------


def functions(tree: ast.AST) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below `tree` with its name as it would be called from outside: `Class.method`, `outer.inner`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        prefix = f"{node.name}." if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else ""
        for name, found in functions(node):
            yield f"{prefix}{name}", found


def enclosing(tree: ast.Module, wanted: ast.AST) -> str:
    """The innermost function or class that holds a node; empty at the module's own level."""
    line = getattr(wanted, "lineno", 0)
    holders = [
        (node.lineno, name)
        for name, node in (*functions(tree), *_classes(tree))
        if node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(holders, default=(0, ""))[1]


def _classes(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, node


def comment_lines(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def words(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]
