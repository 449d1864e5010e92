"""From an aggregate's partials to the columns of its table and of its view."""

from __future__ import annotations

from kappa.processing.aggregates import shown
from kappa.processing.aggregates.partials import Merge, Partial
from kappa.processing.aggregates.shown import Shown
from kappa.tables import finalize
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import sql_type

_RULES = {
    Merge.SUM: MergeRule.SUM,
    Merge.MIN: MergeRule.MIN,
    Merge.MAX: MergeRule.MAX,
    Merge.FIRST: MergeRule.FIRST,
    Merge.LAST: MergeRule.LAST,
}


def stored_column(partial: Partial) -> Column:
    """The table's column for a partial.

    Raises:
        DeclarationError: PostgreSQL has no type for it.
    """
    kind = sql_type(partial.dtype, partial.column)
    return Column(partial.column, kind, _RULES[partial.merge], order=partial.order)


def finalized(column: Shown) -> finalize.Finalize:
    """What the view does in SQL to show what ``column.value`` works out in Python."""
    match column:
        case shown.Mean(total, count):
            return finalize.Mean(finalized(total), count)
        case shown.Variance():
            return _variance(column)
        case shown.SquareRoot(of):
            return finalize.SquareRoot(_variance(of))
        case shown.Stored(name) | shown.Whole(name):
            return finalize.Plain(name)
        case shown.FixedPoint(units):
            return finalize.FixedPoint(units)
        case shown.ScaledDecimal(units, scale):
            return finalize.ScaledDecimal(units, scale)
    raise AssertionError(f"{column!r} has no form in SQL")


def _variance(column: shown.Variance) -> finalize.Variance:
    return finalize.Variance(
        units=column.units,
        squares=column.squares,
        count=column.count,
        bits=column.bits,
        digits=column.digits,
        population=column.population,
    )
