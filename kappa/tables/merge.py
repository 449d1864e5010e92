"""How parts of one row become the row: the same rule in ``GROUP BY`` and in ``ON CONFLICT``.

A build writes a key in several parts and merges them at its end (`grouped`); a live version
merges each part into the stored row (`combined`). Both give the same row, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeAlias

from sqlalchemy import (
    Boolean,
    ColumnCollection,
    ColumnElement,
    FromClause,
    LargeBinary,
    case,
    cast,
    func,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

Excluded: TypeAlias = ColumnCollection[str, ColumnElement[Any]]
"""The columns of the row that met a stored one, as ``Insert.excluded`` gives them."""


class MergeRule(Enum):
    """How the values of one column merge. NULL is no value: it never changes another."""

    KEY = "key"
    """Part of the key: equal in all parts."""

    SUM = "sum"
    """Integers or ``numeric``; ``numeric`` also adds NaN, Infinity and -Infinity."""

    MIN = "min"
    MAX = "max"
    """By PostgreSQL's order: text by its UTF-8 bytes, NaN above every other number. Polars
    skips NaN instead: take NaN out of the parts, or their merge depends on how they were cut."""

    FIRST = "first"
    LAST = "last"
    """The value, NULL or not, of the part whose ``order`` columns are least (greatest), compared
    one after the other as MIN and MAX do. A part with a NULL in the last of them gives none."""

    LATEST = "latest"
    """Follows its row, see Kind.LATEST."""

    REPLACED = "replaced"
    """Merged by the worker, see Remerge: what comes in replaces what is stored."""

    FIXED = "fixed"
    """The same in every part of a key (computed from the key): any of them will do."""

    def grouped(
        self, parts: FromClause, column: str, order: Sequence[str] = ()
    ) -> ColumnElement[Any]:
        """The merged value over all ``parts`` of a group."""
        value = parts.c[column]
        match self:
            case MergeRule.KEY:
                return value
            case MergeRule.SUM:
                return cast(func.sum(value), value.type)
            case MergeRule.MIN | MergeRule.FIXED:
                return _extreme(value, least=True)
            case MergeRule.MAX:
                return _extreme(value, least=False)
            case MergeRule.FIRST | MergeRule.LAST:
                return _picked(parts, column, order, least=self is MergeRule.FIRST)
            case MergeRule.LATEST:
                raise AssertionError("rows of a latest-by-key table merge whole")
            case MergeRule.REPLACED:
                raise AssertionError("only a worker can merge parts of this column")

    def combined(
        self, stored: FromClause, incoming: Excluded, column: str, order: Sequence[str] = ()
    ) -> ColumnElement[Any]:
        """The merged value of a stored row and one more part of it."""
        old, new = stored.c[column], incoming[column]
        match self:
            case MergeRule.SUM:
                return func.coalesce(old + new, old, new)
            case MergeRule.MIN:
                return func.least(old, new)
            case MergeRule.MAX:
                return func.greatest(old, new)
            case MergeRule.FIRST | MergeRule.LAST:
                before = tuple_(*(stored.c[name] for name in order))
                after = tuple_(*(incoming[name] for name in order))
                wins = after < before if self is MergeRule.FIRST else after > before
                return case((wins | stored.c[order[-1]].is_(None), new), else_=old)
            case MergeRule.KEY | MergeRule.FIXED:
                return old
            case MergeRule.LATEST | MergeRule.REPLACED:
                return new


def _extreme(value: ColumnElement[Any], *, least: bool) -> ColumnElement[Any]:
    """min() or max(), also of the types for which PostgreSQL 15 has neither."""
    if isinstance(value.type, Boolean):
        return func.bool_and(value) if least else func.bool_or(value)
    if isinstance(value.type, LargeBinary):
        order = value.asc() if least else value.desc()
        first = aggregate_order_by(value, order)
        return func.array_agg(first).filter(value.is_not(None))[1]
    return func.min(value) if least else func.max(value)


def _picked(
    parts: FromClause, column: str, order: Sequence[str], *, least: bool
) -> ColumnElement[Any]:
    """The value of the part that is first, or last, by ``order``."""
    by = [parts.c[name].asc() if least else parts.c[name].desc() for name in order]
    values = func.array_agg(aggregate_order_by(parts.c[column], *by))
    return values.filter(parts.c[order[-1]].is_not(None))[1]
