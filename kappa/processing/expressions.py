"""Columns as people declare them: a name, or a Polars expression over the record's columns."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from kappa.errors import DeclarationError, InvalidName

Column = str | pl.Expr
"""A column of the source by name, or an expression over its columns."""

SYSTEM_COLUMNS = pl.Schema(
    {"@partition": pl.Int32(), "@offset": pl.Int64(), "@timestamp": pl.Int64()}
)
"""What every record has besides its own columns; ``@timestamp`` is ms since the epoch."""

INSTANT = pl.Datetime("ms", "UTC")
"""How moments of event time are written to tables."""


def expression(column: Column) -> pl.Expr:
    """``column`` as an expression."""
    return pl.col(column) if isinstance(column, str) else column


_COLUMN_NAME = re.compile(r"[a-z](_?[a-z0-9])*")


def check_column_name(name: str, *, where: str) -> None:
    """Refuses a table column's name that would need quotes in SQL or looks like kappa's own.

    Raises:
        InvalidName: it is not lower-case words joined by single underscores.
    """
    if not _COLUMN_NAME.fullmatch(name):
        raise InvalidName(
            f"{where}: {name!r} cannot be a column's name",
            hint=f'rename it: pl.col("{name}").alias("{_suggested(name)}")',
        )


def _suggested(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return re.sub(r"[^a-z0-9]+", "_", snake).strip("_") or "column"


def named(columns: Sequence[Column] | Mapping[str, Column]) -> dict[str, pl.Expr]:
    """Expressions by the name of the column they produce.

    Raises:
        DeclarationError: an expression yields several columns, or a name comes twice.
    """
    if isinstance(columns, Mapping):
        return {name: expression(column) for name, column in columns.items()}
    result: dict[str, pl.Expr] = {}
    for column in columns:
        expr = expression(column)
        if expr.meta.has_multiple_outputs():
            raise DeclarationError(
                f"the expression {expr} yields several columns", hint="name one column each"
            )
        name = expr.meta.output_name()
        if name in result:
            raise DeclarationError(
                f"the column {name!r} is declared twice", hint="rename one with .alias(…)"
            )
        result[name] = expr
    return result


def result_type(expr: pl.Expr, schema: Mapping[str, pl.DataType], *, where: str) -> pl.DataType:
    """The type of ``expr`` over records with these columns.

    ``where`` says in an error which processor and field it is about.

    Raises:
        DeclarationError: it names a column that is not there, does not fit the columns'
            types, or does not give one value for each record from that record alone, and the
            batch would then change the result.
    """
    if expr.meta.has_multiple_outputs():
        raise DeclarationError(
            f"{where}: {expr} yields several columns", hint="name one column each"
        )
    _require_own_record(expr, schema, where)
    try:
        typed = pl.LazyFrame(schema=dict(schema)).select(expr.alias("x")).collect_schema()
    except pl.exceptions.ColumnNotFoundError as error:
        missing = sorted(set(expr.meta.root_names()) - set(schema))
        raise DeclarationError(
            f"{where}: the source has no column {', '.join(map(repr, missing))}",
            hint="its columns are " + ", ".join(n for n in schema if not n.startswith("@")),
        ) from error
    except pl.exceptions.PolarsError as error:
        raise DeclarationError(
            f"{where}: {expr} does not fit the source's columns: {first_line(error)}"
        ) from error
    return typed["x"]


_SETS = {
    "IsIn": 1,
    "Replace": 2,
    "ReplaceStrict": 2,
    "ContainsAny": 1,
    "ReplaceMany": 2,
    "ExtractMany": 1,
    "FindMany": 1,
}
"""Functions that take whole columns as sets or mappings: how many of their inputs, behind the
first, are such."""


def _require_own_record(expr: pl.Expr, schema: Mapping[str, pl.DataType], where: str) -> None:
    """Passes if an expression gives one value for each record, from that record alone.

    Polars answers for the outermost step of an expression only, so every step is asked. What drops
    or multiplies rows it calls separable, and what takes a column as a set; so that is asked, too.
    """
    try:
        alone = all(
            step.meta.is_scalar() if step.meta.is_literal() else step.meta.is_row_separable()
            for step in _steps(expr)
        )
        looks_beyond = not alone or _takes_columns_whole(expr, schema)
        changes_rows = not (expr.meta.is_length_preserving() or expr.meta.is_scalar())
    except pl.exceptions.PolarsError as error:
        raise DeclarationError(
            f"{where}: it cannot be told what {expr} looks at",
            hint="say it without list.eval, list.filter, map_elements and the like: handlers of a"
            " keyed processor see one event at a time",
        ) from error
    if looks_beyond:
        raise DeclarationError(
            f"{where}: {expr} looks at other records",
            hint="a column is worked out from its own record; use a windowed aggregate for more",
        )
    if changes_rows:
        raise DeclarationError(
            f"{where}: {expr} does not give one value for each record",
            hint="instead of .filter(…) use pl.when(…).then(…), or where=… of an aggregate or a"
            " projection",
        )


def _steps(expr: pl.Expr) -> Iterator[pl.Expr]:
    """An expression and all it is made of."""
    yield expr
    for inner in expr.meta.pop():
        yield from _steps(inner)


def _takes_columns_whole(expr: pl.Expr, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether a column, other than one of lists, is the set or mapping that a function looks in."""
    lists = {name for name, dtype in schema.items() if dtype.is_nested()}
    for kind, inputs in _functions(json.loads(expr.meta.serialize(format="json"))):
        for name, count in _SETS.items():
            if f'"{name}"' in json.dumps(kind) and any(
                _columns_in(one) - lists for one in inputs[1 : 1 + count]
            ):
                return True
    return False


def _functions(tree: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Every function in the JSON form of an expression, with its inputs."""
    if isinstance(tree, dict):
        called = tree.get("Function")
        if isinstance(called, dict):
            yield called.get("function"), called.get("input", [])
        tree = list(tree.values())
    for inner in tree if isinstance(tree, list) else ():
        yield from _functions(inner)


def _columns_in(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        here = {tree["Column"]} if isinstance(tree.get("Column"), str) else set()
        return here.union(*map(_columns_in, tree.values()))
    return set().union(*map(_columns_in, tree)) if isinstance(tree, list) else set()


def columns_read(expressions: Iterable[pl.Expr]) -> frozenset[str]:
    """The names of the source columns that these expressions look at."""
    roots = {name for expr in expressions for name in expr.meta.root_names()}
    return frozenset(name for name in roots if not name.startswith("@"))


def is_required(expr: pl.Expr, required: Collection[str]) -> bool:
    """Whether ``expr`` is one of the columns that are never null, perhaps under another name."""
    plain = expr.meta.undo_aliases()
    return plain.meta.is_column() and plain.meta.output_name() in required


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; Polars appends its whole plan after it."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
