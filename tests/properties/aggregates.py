"""Every aggregate, as it is declared and as it is worked out the slow way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import polars as pl

from kappa import (
    ArgMax,
    ArgMin,
    Collect,
    Count,
    CountDistinct,
    First,
    Last,
    Max,
    Mean,
    Merged,
    Min,
    Quantiles,
    Stddev,
    Sum,
    TopK,
    Variance,
)
from tests.properties import results
from tests.properties.reference import Record
from tests.properties.results import Result

Row = Mapping[str, Any]


def same(shown: Any, expected: Any) -> bool:
    """Equal to the last bit; all NaN are one."""
    if isinstance(expected, float):
        return isinstance(shown, float) and (
            shown.hex() == expected.hex() or (math.isnan(shown) and math.isnan(expected))
        )
    if isinstance(expected, list):
        return (
            isinstance(shown, list)
            and len(shown) == len(expected)
            and all(map(same, shown, expected))
        )
    return bool(shown == expected) and (shown is None) == (expected is None)


def never(row: Row) -> bool:
    return False


@dataclass(frozen=True)
class AggregateCase:
    """One way to declare an aggregate.

    Attributes:
        label: the aggregate and what is special about this way.
        declared: makes it, given its ``where``.
        result: what it shows of a row's records.
        refuses: whether it makes a record a dead letter.
        agrees: whether what is shown is right, given the records and the result.
    """

    label: str
    declared: Callable[..., Any]
    result: Result
    refuses: Callable[[Row], bool] = never
    agrees: Callable[[Any, Any], bool] = same

    @property
    def keyed(self) -> bool:
        """Whether rows must be grouped by the record key."""
        return not hasattr(self.declared(), "partials")


def too_large(column: str) -> Callable[[Row], bool]:
    def refuses(row: Row) -> bool:
        value = row[column]
        return value is not None and math.isfinite(value) and abs(value) >= results.TOO_LARGE

    return refuses


def not_finite(column: str) -> Callable[[Row], bool]:
    return lambda row: row[column] is not None and not math.isfinite(row[column])


def percentiles(records: Sequence[Record], column: str, at: Sequence[str]) -> list[float] | None:
    """PostgreSQL's percentile_disc: the least value that is not below that share of the values."""
    values = sorted(results.present(records, column))
    if not values:
        return None
    places = [max(1, math.ceil(Fraction(share) * len(values))) for share in at]
    return [values[place - 1] for place in places]


def near(shown: Any, expected: list[float] | None) -> bool:
    """Within the accuracy of one percent; the extremes to the bit."""
    if expected is None:
        return shown is None
    close = all(
        abs(a - b) <= abs(b) * 0.01 * 1.000001 for a, b in zip(shown, expected, strict=True)
    )
    return close and same(shown[0], results.positive_zero(expected[0]))


def near_count(shown: Any, expected: int) -> bool:
    """Of so few values hardly ever do two fall into one of 4096 registers."""
    return expected - 1 <= shown <= expected


def top(records: Sequence[Record], column: str, k: int) -> list[Any] | None:
    values = sorted(results.present(records, column), key=results.ordering, reverse=True)
    return [results.positive_zero(value) for value in values[:k]] or None


def top_by(records: Sequence[Record], column: str, k: int, by: str) -> list[Any] | None:
    compared = [r for r in records if r.row[by] is not None and r.row[column] is not None]
    compared.sort(key=lambda r: (results.ordering(r.row[by]), r.rank), reverse=True)
    return [r.row[column] for r in compared[:k]] or None


def collected(records: Sequence[Record], column: str, limit: int) -> list[Any] | None:
    in_order = results.present(sorted(records, key=lambda r: r.rank), column)
    return [results.positive_zero(value) for value in in_order[:limit]] or None


def most_frequent(records: Sequence[Record], column: str) -> str | None:
    counts = Counter(results.present(records, column))
    return max(counts, key=lambda value: (counts[value], value), default=None)


def counted_texts(frame: pl.DataFrame) -> dict[str, int]:
    return dict(sorted(Counter(frame["s"].drop_nulls().to_list()).items()))


def added_texts(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(left) + Counter(right)).items()))


def mode(counts: dict[str, int]) -> str | None:
    return max(counts, key=lambda value: (counts[value], value), default=None)


own = partial(
    Merged, "s", partial=counted_texts, merge=added_texts, finalize=mode, result=pl.String
)

_COUNTS = [
    AggregateCase("count", Count, results.count),
    AggregateCase("count of a column", partial(Count, "n"), partial(results.count, column="n")),
    AggregateCase("sum of longs", partial(Sum, "n"), partial(results.total, column="n")),
    AggregateCase("mean of longs", partial(Mean, "n"), partial(results.mean, column="n")),
    AggregateCase("stddev", partial(Stddev, "n"), partial(results.stddev, column="n")),
]
_DECIMALS = [
    AggregateCase("sum of decimals", partial(Sum, "d"), partial(results.total, column="d")),
    AggregateCase("mean of decimals", partial(Mean, "d"), partial(results.mean, column="d")),
    AggregateCase(
        "variance of a population of decimals",
        partial(Variance, "d", population=True),
        partial(results.variance, column="d", population=True),
    ),
]
_DOUBLES = [
    AggregateCase(
        "sum of doubles", partial(Sum, "x"), partial(results.total, column="x"), too_large("x")
    ),
    AggregateCase(
        "mean of doubles", partial(Mean, "x"), partial(results.mean, column="x"), too_large("x")
    ),
    AggregateCase(
        "variance", partial(Variance, "x"), partial(results.variance, column="x"), too_large("x")
    ),
    AggregateCase(
        "stddev of a population",
        partial(Stddev, "x", population=True),
        partial(results.stddev, column="x", population=True),
        too_large("x"),
    ),
]
_EXTREMES = [
    AggregateCase("min of longs", partial(Min, "n"), partial(results.least, column="n")),
    AggregateCase("min of doubles", partial(Min, "x"), partial(results.least, column="x")),
    AggregateCase("max of text", partial(Max, "s"), partial(results.greatest, column="s")),
    AggregateCase("max of doubles", partial(Max, "x"), partial(results.greatest, column="x")),
]
_PICKS = [
    AggregateCase("first", partial(First, "s"), partial(results.first, column="s")),
    AggregateCase("last", partial(Last, "x"), partial(results.last, column="x")),
    AggregateCase(
        "arg min", partial(ArgMin, "s", "x"), partial(results.arg_min, column="s", by="x")
    ),
    AggregateCase(
        "arg max", partial(ArgMax, "x", by="n"), partial(results.arg_max, column="x", by="n")
    ),
]
_SETS = [
    AggregateCase(
        "count distinct", partial(CountDistinct, "s"), partial(results.distinct, column="s")
    ),
    AggregateCase(
        "count distinct, estimated",
        partial(CountDistinct, "n", exact=False),
        partial(results.distinct, column="n"),
        agrees=near_count,
    ),
    AggregateCase("top k", partial(TopK, "n", 2), partial(top, column="n", k=2)),
    AggregateCase(
        "top k by a column", partial(TopK, "s", 2, by="x"), partial(top_by, column="s", k=2, by="x")
    ),
    AggregateCase("one's own", own, partial(most_frequent, column="s")),
]
_FINITE = [
    AggregateCase(
        "quantiles",
        partial(Quantiles, "x", at=(0, 0.5, 0.9)),
        partial(percentiles, column="x", at=("0", "0.5", "0.9")),
        not_finite("x"),
        near,
    ),
    AggregateCase(
        "collect",
        partial(Collect, "x", 3),
        partial(collected, column="x", limit=3),
        not_finite("x"),
    ),
]

GROUPS = [
    _COUNTS,
    _DECIMALS,
    _DOUBLES,
    _EXTREMES,
    _PICKS,
    [*_SETS, *_COUNTS[:1]],
    [*_FINITE, *_PICKS[:1]],
]
"""What a processor declares together. A record that one aggregate refuses is in none of them."""

CASES = [case for group in GROUPS for case in group]
