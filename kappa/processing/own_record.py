"""Whether an expression is worked out from its own record, so that no batch changes its result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from kappa.errors import DeclarationError

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


def require_own_record(expr: pl.Expr, schema: Mapping[str, pl.DataType], where: str) -> None:
    """Passes if an expression gives one value for each record, from that record alone.

    Polars answers for the outermost step of an expression only, so every step is asked. What drops
    or multiplies rows it calls separable, and what takes a column as a set; so that is asked, too.

    Raises:
        DeclarationError: it does not, or that cannot be told.
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
        named = json.dumps(kind)
        count = next((count for name, count in _SETS.items() if f'"{name}"' in named), 0)
        if any(_columns_in(one) - lists for one in inputs[1 : 1 + count]):
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
