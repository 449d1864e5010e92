"""Aggregates over values of every kind, and the slow, obvious way to work them out.

The reference has no partials: it looks at all of a group's records at once, with fractions.
"""

from __future__ import annotations

import math
import statistics
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
from hypothesis import strategies as st

from kappa.processing.aggregates.declared import Count, Max, Min, SqlMerged
from kappa.processing.aggregates.partials import Partial
from kappa.processing.aggregates.picks import ArgMax, ArgMin, First, Last
from kappa.processing.aggregates.sums import Mean, Stddev, Sum, Variance

Row = Mapping[str, Any]

SCHEMA = pl.Schema(
    {
        "rank": pl.Int128(),
        "key": pl.String(),
        "paid": pl.Boolean(),
        "double": pl.Float64(),
        "single": pl.Float32(),
        "byte": pl.Int8(),
        "long": pl.Int64(),
        "ulong": pl.UInt64(),
        "wide": pl.Int128(),
        "price": pl.Decimal(12, 2),
        "exact": pl.Decimal(38, 9),
        "text": pl.String(),
        "side": pl.Enum(["sell", "buy"]),
        "bytes": pl.Binary(),
        "at": pl.Datetime("us", "UTC"),
        "list": pl.List(pl.Int64()),
        "pair": pl.Struct({"a": pl.Int64(), "b": pl.String()}),
    }
)

WHERE = pl.col("paid")
NUMBERS = ("double", "single", "byte", "long", "ulong", "wide", "price", "exact")
ORDERED = (*NUMBERS, "text", "side", "at")
ANY = (*ORDERED, "paid", "bytes", "list", "pair")


def every_aggregate() -> dict[str, SqlMerged]:
    """Every kind of aggregate with every kind of column, some with a condition."""
    every: dict[str, SqlMerged] = {
        "count": Count(),
        "count_paid": Count(where=WHERE),
        "count_double": Count("double"),
        "count_double_paid": Count("double", where=WHERE),
    }
    for name, where in {"": None, "_paid": WHERE}.items():
        for column in NUMBERS:
            every[f"sum_{column}{name}"] = Sum(column, where=where)
            every[f"mean_{column}{name}"] = Mean(column, where=where)
            every[f"var_{column}{name}"] = Variance(column, where=where)
            every[f"dev_{column}{name}"] = Stddev(column, where=where)
            every[f"pvar_{column}{name}"] = Variance(column, population=True, where=where)
            every[f"pdev_{column}{name}"] = Stddev(column, population=True, where=where)
        for column in ORDERED:
            every[f"min_{column}{name}"] = Min(column, where=where)
            every[f"max_{column}{name}"] = Max(column, where=where)
            every[f"arg_min_{column}{name}"] = ArgMin("list", by=column, where=where)
            every[f"arg_max_{column}{name}"] = ArgMax("double", by=column, where=where)
        for column in ANY:
            every[f"first_{column}{name}"] = First(column, where=where)
            every[f"last_{column}{name}"] = Last(column, where=where)
    return every


def input_types(aggregate: SqlMerged) -> list[pl.DataType]:
    typed = pl.LazyFrame(schema=SCHEMA)
    return [typed.select(expr.alias("x")).collect_schema()["x"] for expr in aggregate.reads()]


def partials_of(aggregates: Mapping[str, SqlMerged]) -> list[Partial]:
    return [
        partial
        for name, aggregate in aggregates.items()
        for partial in aggregate.partials(name, input_types(aggregate), pl.col("rank"))
    ]


def lifted(rows: Sequence[Row], partials: Sequence[Partial]) -> pl.DataFrame:
    """One row per record: ``key`` and the partials."""
    frame = pl.DataFrame(rows, schema=SCHEMA)
    return frame.select("key", *(p.lift.cast(p.dtype).alias(p.column) for p in partials))


def expected(aggregate: SqlMerged, rows: Iterable[Row]) -> object:
    """What the aggregate shows of these records."""
    counted = [row for row in rows if aggregate.where is None or row["paid"]]
    match aggregate:
        case Count(None):
            return len(counted)
        case Count(str(column)):
            return sum(row[column] is not None for row in counted)
        case ArgMin(str(column), by=str(by)) | ArgMax(str(column), by=str(by)):
            among = [row for row in counted if row[by] is not None]
            pick = min if isinstance(aggregate, ArgMin) else max
            best = pick(among, key=lambda row: (_order(row[by]), row["rank"]), default=None)
            return None if best is None else best[column]
    assert isinstance(aggregate, Sum | Mean | Variance | Stddev | Min | Max | First | Last)
    assert isinstance(aggregate.column, str)
    in_order = sorted(counted, key=lambda row: row["rank"])
    values = [row[aggregate.column] for row in in_order if row[aggregate.column] is not None]
    match aggregate:
        case Sum():
            return _total(values)
        case Mean():
            return float(_total(values)) / len(values) if values else None
        case Variance(population=population):
            return _variance(values, population)
        case Stddev(population=population):
            variance = _variance(values, population)
            return None if variance is None else math.sqrt(variance)
        case Min() | Max():
            pick = min if isinstance(aggregate, Min) else max
            return _positive_zero(pick(values, key=_order, default=None))
        case First():
            return values[0] if values else None
        case Last():
            return values[-1] if values else None


def _fraction(value: float | int | Decimal) -> Fraction:
    """A number as sums count it: doubles to the nearest multiple of 2**-32."""
    if isinstance(value, float):
        return Fraction(round(Fraction(value) * 2**32), 2**32)
    return Fraction(value)


def _total(values: Sequence[Any]) -> Any:
    if not values:
        return None
    special = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
    if special:
        return sum(special)
    total = sum(map(_fraction, values), Fraction())
    if isinstance(values[0], float):
        return float(total)
    return _decimal(total)


def _decimal(total: Fraction) -> Decimal:
    """Exactly; ``total`` has at most nine digits after the point."""
    scaled = total * 10**9
    assert scaled.denominator == 1
    return Decimal((int(scaled < 0), tuple(map(int, str(abs(scaled.numerator)))), -9))


def _variance(values: Sequence[Any], population: bool) -> float | None:
    if len(values) < (1 if population else 2):
        return None
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        return math.nan
    exact = [_fraction(value) for value in values]
    return float(statistics.pvariance(exact) if population else statistics.variance(exact))


def _order(value: Any) -> Any:
    """A key that sorts as PostgreSQL does."""
    if isinstance(value, float):
        return (math.isnan(value), 0.0 if math.isnan(value) else value)
    return value.encode() if isinstance(value, str) else value


def _positive_zero(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value


def same(left: Any, right: Any) -> bool:
    """Equal, doubles bit by bit (any NaN is NaN)."""
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, float) or isinstance(right, float):
        return False
    return bool(left == right)


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _floats(width: int) -> st.SearchStrategy[float]:
    huge = 2.0**63 - 2.0**40
    plain = st.floats(-1e4, 1e4) if width == 64 else st.floats(-1024, 1024, width=32)
    wide = [0.1, 2.0**-33, 3 * 2.0**-33, 1e-300, 65_536.5, 1e9, 1e15, -huge, huge]
    if width == 32:
        wide = [0.5, 2.0**-33, 65_536.5, 2.0**40, -(2.0**62)]
    special = [0.0, -0.0, math.nan, math.inf, -math.inf]
    return plain | plain | st.sampled_from(wide) | st.sampled_from(special)


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    whole = st.integers(-1000, 1000) | st.integers(-(10**digits) + 1, 10**digits - 1)
    return whole.map(lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -scale)))


_INTS = st.integers(-3, 3)
_TEXTS = st.text(st.sampled_from('aZé 😀\n\\,"'), max_size=3)

RECORD: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["a", "b"]),
        "paid": _optional(st.booleans()),
        "double": _optional(_floats(64)),
        "single": _optional(_floats(32)),
        "byte": _optional(st.integers(-128, 127)),
        "long": _optional(_INTS | st.integers(-(2**63), 2**63 - 1)),
        "ulong": _optional(_INTS.map(abs) | st.integers(0, 2**64 - 1)),
        "wide": _optional(_INTS | st.integers(-(2**95) + 1, 2**95 - 1)),
        "price": _optional(_decimals(12, 2)),
        "exact": _optional(_decimals(28, 9)),
        "text": _optional(_TEXTS),
        "side": _optional(st.sampled_from(["sell", "buy"])),
        "bytes": _optional(st.binary(max_size=3)),
        "at": _optional(
            st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
                lambda moment: moment.replace(tzinfo=UTC)
            )
        ),
        "list": _optional(st.lists(_optional(_INTS), max_size=2)),
        "pair": _optional(st.fixed_dictionaries({"a": _optional(_INTS), "b": _optional(_TEXTS)})),
    }
)


@st.composite
def records(draw: st.DrawFn, max_size: int = 12) -> list[dict[str, Any]]:
    """Records with unique ranks, in any order."""
    drawn = draw(st.lists(RECORD, max_size=max_size))
    ranks = draw(
        st.lists(
            st.integers(-20, 20) | st.integers(-(2**120), 2**120),
            min_size=len(drawn),
            max_size=len(drawn),
            unique=True,
        )
    )
    return [{**record, "rank": rank} for record, rank in zip(drawn, ranks, strict=True)]
