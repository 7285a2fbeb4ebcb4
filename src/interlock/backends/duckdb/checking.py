"""Whether a text is a query that may run, and the text that runs: written anew from the tree that was checked.

What runs is never the text that came in. So a place where this parser and the database's read a text differently (a comment, a
quote, an odd character) is of no use: the database gets the tree as understood here. `tree.py` holds the database's own reading
against the same lists, and beneath both the database itself is locked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from interlock.backends.duckdb import allowed
from interlock.core.desk.queries.model import SQL_MAX
from interlock.core.desk.queries.tables import QUERYABLE
from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.errors import Fault, Invalid

NESTING_MAX = 40
"""Brackets within brackets. Parsers take very long for deep ones, or end."""
NODES_MAX = 5_000
NOT_ALLOWED, NOT_UNDERSTOOD = "sql_not_allowed", "sql_not_understood"
DIALECT = "duckdb"
_PREFIX = re.compile(r"\s*(explain|describe|summarize)\s+(?=\S)", re.IGNORECASE)
_BARE_TABLE = re.compile(r"\s*([a-z_]+)\s*;?\s*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_CTE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.IGNORECASE)
_NOW = frozenset({"now", "get_current_timestamp"})
_SELECT_ARGS = ("into", "locks", "hint", "kind", "operation_modifiers")
"""Of a SELECT, and not allowed."""
_TABLE_ARGS = frozenset({"this", "alias", "joins", "sample"})


class Checked(NamedTuple):
    sql: str
    """The query alone, in the database's dialect, with a LIMIT where it had none."""
    prefix: str
    """EXPLAIN, DESCRIBE or SUMMARIZE and a space, or empty."""


def check(text: str, *, now: Millis, rows_max: int) -> Checked:
    """The query to run for `text`, with `now` in place of every look at the clock, limited to one row more than `rows_max`.

    Raises Invalid that names what is not allowed or not understood, with line and column as far as they are known.
    """
    _check_text(text)
    prefix = ""
    if found := _PREFIX.match(text):
        prefix, text = f"{found[1].upper()} ", text[found.end() :]
        if (bare := _BARE_TABLE.fullmatch(text)) and bare[1].lower() in QUERYABLE:
            text = f"SELECT * FROM {bare[1]}"  # noqa: S608 -- it is one of QUERYABLE
    try:
        tree = _single(text)
        for count, node in enumerate(tree.walk()):
            if count >= NODES_MAX:
                _refuse("the statement has too many parts", None)
            _check_node(node)
        limit_clocks(tree, now)
        if not prefix and tree.args.get("limit") is None:
            tree = tree.limit(rows_max + 1)
        return Checked(tree.sql(dialect=DIALECT, comments=False), prefix)
    except RecursionError:
        raise Invalid("the statement is nested too deeply", code=NOT_UNDERSTOOD) from None
    except SqlglotError as error:
        raise _not_understood(error) from None


def limit_clocks(tree: exp.Query, now: Millis) -> None:
    """Put an instant in place of every look at the clock, so that one query has one time, and the same one in all its parts."""
    at = rfc3339(now)[:-1].replace("T", " ")
    for node in list(tree.walk()):
        if isinstance(node, exp.CurrentDate):
            node.replace(exp.cast(exp.Literal.string(at[:10]), "DATE"))
        elif isinstance(node, exp.CurrentTimestamp) or (isinstance(node, exp.Anonymous) and node.name.lower() in _NOW):
            node.replace(exp.cast(exp.Literal.string(at), "TIMESTAMP"))


def _check_text(text: str) -> None:
    if len(text) > SQL_MAX:
        _refuse(f"a statement has at most {SQL_MAX} characters", None)
    if found := _CONTROL.search(text):
        _refuse(f"the character U+{ord(found[0]):04X}", None)
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth > NESTING_MAX:
            _refuse(f"brackets more than {NESTING_MAX} deep", None)


def _single(text: str) -> exp.Query:
    statements = [
        one for one in sqlglot.parse(text, dialect=DIALECT) if one is not None and type(one) is not exp.Semicolon
    ]
    if not statements:
        raise Invalid("there is no statement", code=NOT_UNDERSTOOD)
    if len(statements) > 1:
        _refuse("a second statement", statements[1])
    tree = statements[0]
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
        word = tree.name if isinstance(tree, exp.Command) and not isinstance(tree.this, exp.Expression) else tree.key
        _refuse(f"{(str(word) or tree.key).upper()}: only SELECT, WITH, UNION and the like run here", tree)
    return tree


def _check_node(node: exp.Expr) -> None:
    if isinstance(node, exp.Anonymous):
        if not isinstance(node.this, str) or node.name.lower() not in allowed.FUNCTIONS:
            _refuse(f"the function {node.name}()", node)
        return
    name = type(node).__name__
    if name not in allowed.NODES and name not in allowed.TYPED:
        if isinstance(node, exp.Func):
            _refuse(f"the function {_function_name(node)}()", node)
        _refuse(f"{_words(name)}", node)
    if isinstance(node, exp.Table):
        _check_table(node)
    elif isinstance(node, exp.With):
        if node.args.get("recursive"):
            _refuse("WITH RECURSIVE: it need not come to an end", node)
    elif isinstance(node, exp.CTE):
        _check_name(node.alias, node)
    elif isinstance(node, exp.DataType):
        _check_type(node)
    elif isinstance(node, exp.Select) and not node.expressions:
        raise Invalid("not understood: a SELECT of nothing", code=NOT_UNDERSTOOD)
    elif isinstance(node, exp.Select) and any(node.args.get(one) for one in _SELECT_ARGS):
        _refuse("INTO, FOR UPDATE, hints and the like", node)


def _check_table(node: exp.Table) -> None:
    if not isinstance(node.this, exp.Identifier):
        _refuse(f"{_function_name(node.this)}() in place of a table", node)
    if node.args.get("db") or node.args.get("catalog"):
        _refuse(f"the schema in front of {node.name}", node)
    extra = {name for name, value in node.args.items() if value} - _TABLE_ARGS
    if extra:
        _refuse(f"{_words(min(extra))} of a table", node)
    if node.name.lower() not in QUERYABLE and node.name.lower() not in _visible(node):
        _refuse(f"the table {node.name!r}; there are {', '.join(sorted(QUERYABLE))}", node)


def _visible(node: exp.Expr) -> Iterator[str]:
    """Names of the CTEs that a table at this place can mean: those of every WITH around it, and within a WITH the earlier ones."""
    inner: exp.Expr = node
    while (outer := inner.parent) is not None:
        if isinstance(outer, exp.With):
            for one in outer.expressions:
                if one is inner:
                    break
                yield one.alias.lower()
        elif not isinstance(inner, exp.With):
            around = outer.args.get("with_") or outer.args.get("with")
            if isinstance(around, exp.With):
                yield from (one.alias.lower() for one in around.expressions)
        inner = outer


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Func) and not isinstance(node, exp.Anonymous):
        return node.sql_name().lower()
    return node.name


def _check_name(name: str, node: exp.Expr) -> None:
    if _CTE_NAME.fullmatch(name) is None or name.lower().startswith(allowed.SYSTEM):
        _refuse(f"the name {name!r}: plain letters, digits and _, and none of the database's own", node)


def _check_type(node: exp.DataType) -> None:
    kind = node.this
    if not isinstance(kind, exp.DType) or kind.name not in allowed.TYPES:
        _refuse(f"the type {node.sql(dialect=DIALECT)}", node)


def _refuse(what: str, node: exp.Expr | None) -> NoReturn:
    place = _place(node)
    detail = f"not allowed{place}: {what}"
    raise Invalid(detail, faults=(Fault("/sql", NOT_ALLOWED, detail),), code=NOT_ALLOWED)


def _place(node: exp.Expr | None) -> str:
    """Line and column, from the nearest name within, or around."""
    around = node
    while around is not None:
        for one in around.walk():
            if "line" in one.meta:
                # The column that is told is that of a name's last character.
                column = one.meta["col"] - (one.meta["end"] - one.meta["start"])
                return f" in line {one.meta['line']}, column {column}"
        around = around.parent
    return ""


def _not_understood(error: SqlglotError) -> Invalid:
    detail = "not understood"
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        detail = f"not understood in line {first.get('line')}, column {first.get('col')}: {first.get('description')}"
    return Invalid(detail, faults=(Fault("/sql", NOT_UNDERSTOOD, detail),), code=NOT_UNDERSTOOD)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).strip().upper()
