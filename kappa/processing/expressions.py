"""Columns as people declare them: a name, or a Polars expression over the record's columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl

from kappa.errors import DeclarationError, InvalidName
from kappa.processing.own_record import require_own_record

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
    if not isinstance(name, str):
        raise InvalidName(
            f"{where}: {name!r} cannot be a column's name", hint="write the name as text"
        )
    if not _COLUMN_NAME.fullmatch(name):
        raise InvalidName(
            f"{where}: {name!r} cannot be a column's name",
            hint=f'rename it: pl.col("{name}").alias("{_suggested(name)}")',
        )


def _suggested(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return re.sub(r"[^a-z0-9]+", "_", snake).strip("_") or "column"


def named(columns: Sequence[Column] | Mapping[str, Column], *, where: str) -> dict[str, pl.Expr]:
    """Expressions by the name of the column they produce.

    ``where`` says in an error which processor and field it is about.

    Raises:
        DeclarationError: something is no column, an expression yields several columns, or a name
            comes twice.
    """
    if isinstance(columns, Mapping):
        return {name: expression(column) for name, column in columns.items()}
    result: dict[str, pl.Expr] = {}
    for column in columns:
        expr = expression(column)
        _require_one(expr, where)
        name = expr.meta.output_name()
        if name in result:
            raise DeclarationError(
                f"{where}: the column {name!r} is declared twice", hint="rename one with .alias(…)"
            )
        result[name] = expr
    return result


def _require_one(expr: object, where: str) -> None:
    if not isinstance(expr, pl.Expr):
        raise DeclarationError(
            f"{where}: {expr!r} is no column",
            hint='name one, or write an expression: pl.col("amount") * 2',
        )
    if expr.meta.has_multiple_outputs():
        raise DeclarationError(
            f"{where}: {expr} yields several columns", hint="name one column each"
        )


def result_type(expr: pl.Expr, schema: Mapping[str, pl.DataType], *, where: str) -> pl.DataType:
    """The type of ``expr`` over records with these columns.

    ``where`` says in an error which processor and field it is about.

    Raises:
        DeclarationError: it names a column that is not there, does not fit the columns'
            types, or does not give one value for each record from that record alone, and the
            batch would then change the result.
    """
    _require_one(expr, where)
    require_own_record(expr, schema, where)
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
            f"{where}: {expr} does not fit the source's columns: {first_line(error)}",
            hint="cast what is of the wrong type; the columns are "
            + ", ".join(f"{n}: {t}" for n, t in schema.items() if not n.startswith("@")),
        ) from error
    return typed["x"]


def require_condition(expr: pl.Expr, schema: Mapping[str, pl.DataType], *, where: str) -> None:
    """Passes if ``expr`` is true, false or null for each record with these columns.

    Raises:
        DeclarationError: it is not, or see ``result_type``.
    """
    dtype = result_type(expr, schema, where=where)
    if dtype != pl.Boolean:
        raise DeclarationError(
            f"{where} is of type {dtype}, not a condition",
            hint='write one: where=pl.col("amount") > 0',
        )


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
