"""What aggregates come to, from all records of a row: sorting and adding up, Fractions for sums."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.properties.reference import Record

Result = Callable[[Sequence[Record]], Any]
"""What an aggregate shows of the records of a row."""

TOO_LARGE = 2.0**63
"""Doubles from here up cannot be summed."""


def present(records: Sequence[Record], column: str) -> list[Any]:
    """The column's values that are not null."""
    return [r.row[column] for r in records if r.row[column] is not None]


def ordering(value: Any) -> Any:
    """Sorts NaN above every number, and text by its bytes."""
    if isinstance(value, float):
        return (math.isnan(value), 0.0 if math.isnan(value) else value)
    return value.encode() if isinstance(value, str) else value


def positive_zero(value: Any) -> Any:
    return 0.0 if value == 0 and isinstance(value, float) else value


def count(records: Sequence[Record], column: str | None = None) -> int:
    return len(records) if column is None else len(present(records, column))


def special(values: Sequence[float]) -> float | None:
    """What IEEE 754 makes of a sum in which something is not finite."""
    odd = [value for value in values if not math.isfinite(value)]
    return math.nan if len(set(map(str, odd))) > 1 else odd[0] if odd else None


def exactly(value: Any) -> Fraction:
    """What a value counts as in a sum."""
    if isinstance(value, float):
        return Fraction(round(Fraction(value) * 2**32), 2**32)
    return Fraction(value)


def total(records: Sequence[Record], column: str) -> Any:
    values = present(records, column)
    if not values:
        return None
    if isinstance(values[0], float):
        odd = special(values)
        return float(sum(map(exactly, values))) if odd is None else odd
    return sum(values, Decimal(0)) if isinstance(values[0], Decimal) else sum(values)


def mean(records: Sequence[Record], column: str) -> float | None:
    values = present(records, column)
    return float(total(records, column)) / len(values) if values else None


def variance(records: Sequence[Record], column: str, *, population: bool = False) -> float | None:
    values = present(records, column)
    freedom = len(values) - (0 if population else 1)
    if freedom < 1:
        return None
    if isinstance(values[0], float) and special(values) is not None:
        return math.nan
    numbers = [exactly(value) for value in values]
    middle = sum(numbers, Fraction()) / len(numbers)
    return float(sum((number - middle) ** 2 for number in numbers) / freedom)


def stddev(records: Sequence[Record], column: str, *, population: bool = False) -> float | None:
    squared = variance(records, column, population=population)
    return None if squared is None else math.sqrt(squared)


def least(records: Sequence[Record], column: str) -> Any:
    values = sorted(present(records, column), key=ordering)
    return positive_zero(values[0]) if values else None


def greatest(records: Sequence[Record], column: str) -> Any:
    values = sorted(present(records, column), key=ordering)
    return positive_zero(values[-1]) if values else None


def first(records: Sequence[Record], column: str) -> Any:
    values = present(sorted(records, key=lambda r: r.rank), column)
    return values[0] if values else None


def last(records: Sequence[Record], column: str) -> Any:
    values = present(sorted(records, key=lambda r: r.rank), column)
    return values[-1] if values else None


def by_value(records: Sequence[Record], column: str, by: str) -> list[Any]:
    """The column in the order of ``by``, then time."""
    compared = [r for r in records if r.row[by] is not None]
    in_order = sorted(compared, key=lambda r: (ordering(r.row[by]), r.rank))
    return [r.row[column] for r in in_order]


def arg_min(records: Sequence[Record], column: str, by: str) -> Any:
    values = by_value(records, column, by)
    return values[0] if values else None


def arg_max(records: Sequence[Record], column: str, by: str) -> Any:
    values = by_value(records, column, by)
    return values[-1] if values else None


def distinct(records: Sequence[Record], column: str) -> int:
    return len(set(present(records, column)))


def frequencies(records: Sequence[Record], column: str) -> Counter[Any]:
    return Counter(present(records, column))
