"""Rows as tests write them, as the columns a processor reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from kappa.avro.columns import polars_schema, required_columns
from kappa.avro.defaults import decoded_default
from kappa.avro.nodes import Field, Fixed, Primitive
from kappa.avro.schema import parse
from kappa.errors import BadRecord
from kappa.processing.keyed.emitted import instance
from kappa.testing.moments import parsed

Row = Mapping[str, Any]
"""The values of one record by column."""

Columns = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True)
class RowReader:
    """What a topic's records are made of.

    Attributes:
        schema: the columns.
        required: those that are never null.
        defaults: what a column holds where a row leaves it out.
    """

    schema: pl.Schema
    required: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = attribute(default_factory=dict)

    @staticmethod
    def of(schema: str | Path | Columns) -> RowReader:
        """From the path of an Avro schema, or from columns and their types.

        Raises:
            InvalidSchema: the file holds no schema that kappa can read.
            OSError: the file cannot be read.
        """
        if isinstance(schema, Mapping):
            return RowReader(pl.Schema(schema))
        avro = parse(Path(schema).read_text())
        fields = avro.record.fields
        return RowReader(
            polars_schema(avro),
            required_columns(avro),
            {f.name: _default(f) for f in fields if f.has_default},
        )

    def frame(self, rows: Sequence[Row]) -> pl.DataFrame:
        """The rows as columns.

        Raises:
            BadRecord: a row does not fit; the message names the column.
        """
        for row in rows:
            self._check(row)
        return pl.DataFrame(
            [
                self._series(name, [row.get(name, self.defaults.get(name)) for row in rows])
                for name in self.schema
            ]
        )

    def _check(self, row: Row) -> None:
        unknown = sorted(row.keys() - self.schema.keys())
        if unknown:
            raise BadRecord(
                f"the topic has no column {unknown[0]!r}",
                hint="its columns are " + ", ".join(self.schema),
            )
        for name in self.required:
            if row.get(name, self.defaults.get(name)) is None:
                raise BadRecord(f"the column {name!r} is never null, but the row has none")

    def _series(self, name: str, values: Iterable[Any]) -> pl.Series:
        dtype = self.schema[name]
        try:
            fitting = [_fitting(value, dtype) for value in values]
            return pl.Series(name, fitting, dtype=dtype, strict=True)
        except (TypeError, ValueError, ArithmeticError, pl.exceptions.PolarsError) as error:
            raise BadRecord(f"the column {name!r} is {dtype}: {error}") from error
        except BadRecord as error:
            raise BadRecord(f"the column {name!r}: {error.message}", hint=error.hint) from error


def _default(field: Field) -> Any:
    """What stands in a schema, but for bytes, which stand there as text."""
    match field.node:
        case Primitive("bytes") | Fixed():
            return decoded_default(field, field.name)
    return field.default


def _fitting(value: Any, dtype: pl.DataType) -> Any:
    """``value`` as Polars takes it for this type: moments and decimals may be text."""
    if value is None:
        return None
    match dtype:
        case pl.Datetime():
            return _moment(value, dtype)
        case pl.Date() if isinstance(value, str):
            return date.fromisoformat(value)
        case pl.Time() if isinstance(value, str):
            return time.fromisoformat(value)
        case pl.Decimal(scale=scale):
            return _decimal(value, scale)
        case pl.List(inner=inner):
            return [_fitting(item, instance(inner)) for item in _items(value)]
        case pl.Struct(fields=fields):
            return {f.name: _fitting(value.get(f.name), instance(f.dtype)) for f in fields}
        case pl.Float64() | pl.Float32() if isinstance(value, int):
            return float(_number(value))
        case pl.Boolean() if not isinstance(value, bool):
            raise TypeError(f"{value!r} is no boolean")
    return _number(value) if dtype.is_numeric() else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return value


def _moment(value: Any, dtype: pl.Datetime) -> Any:
    if not isinstance(value, str | datetime):
        return _number(value)
    utc = parsed(value)
    return utc if dtype.time_zone is not None else utc.replace(tzinfo=None)


def _decimal(value: Any, scale: int) -> Decimal:
    number = Decimal(repr(value) if isinstance(value, float) else _number(value))
    if number != round(number, scale):
        raise ValueError(f"{value} has more than {scale} digits after the point")
    return number


def _items(value: Any) -> Collection[Any]:
    """The items of a list, or the entries of a map in the form its column has."""
    if isinstance(value, Mapping):
        return [{"key": key, "value": item} for key, item in value.items()]
    return list(value)
