"""Values that are shown as JSON: a plain value, or a struct of plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.sketches.plain import plain, plain_type, restored


@dataclass(frozen=True)
class Shape:
    """The plain values that a value consists of, by type.

    ``fields`` are the names they have in the struct; None where the value itself is plain.
    """

    types: tuple[pl.DataType, ...]
    fields: tuple[str, ...] | None

    @property
    def shown(self) -> pl.DataType:
        """The type in which the values are shown: enums are text."""
        types = [pl.String() if _is_text(dtype) else dtype for dtype in self.types]
        if self.fields is None:
            return types[0]
        return pl.Struct(dict(zip(self.fields, types, strict=True)))

    def apart(self, value: pl.Expr) -> list[pl.Expr]:
        """The plain forms of the parts of ``value``."""
        parts = zip(self._parts(value), self.types, strict=True)
        return [plain(part, dtype) for part, dtype in parts]

    def together(self, parts: Sequence[pl.Expr]) -> pl.Expr:
        """The value, as it is shown, that was taken apart into ``parts``."""
        values = [
            part if _is_text(dtype) else restored(part, dtype)
            for part, dtype in zip(parts, self.types, strict=True)
        ]
        if self.fields is None:
            return values[0]
        return pl.struct(value.alias(f) for value, f in zip(values, self.fields, strict=True))

    def unfit(self, value: pl.Expr) -> pl.Expr | None:
        """Where ``value`` has no place in JSON, as PostgreSQL has it; None where it always has."""
        parts = map(_unfit, self._parts(value), self.types)
        possible = [part.fill_null(False) for part in parts if part is not None]
        return pl.any_horizontal(possible) if possible else None

    def _parts(self, value: pl.Expr) -> list[pl.Expr]:
        if self.fields is None:
            return [value]
        return [value.struct.field(name) for name in self.fields]


def shape_of(dtype: pl.DataType, where: str) -> Shape:
    """How values of ``dtype`` are made up; ``where`` says in an error what they are for.

    Raises:
        DeclarationError: some part of them cannot be shown in JSON.
    """
    parts = pl.Schema(dtype) if isinstance(dtype, pl.Struct) else pl.Schema({"": dtype})
    for part in parts.values():
        if plain_type(part) is None or isinstance(part, pl.Binary | pl.Duration):
            raise DeclarationError(
                f"{where} cannot show values of type {part} in a JSON list", hint=_hint(part)
            )
    fields = tuple(parts) if isinstance(dtype, pl.Struct) else None
    return Shape(tuple(parts.values()), fields)


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Enum | pl.Categorical)


def _unfit(part: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype.is_float():
        return ~part.is_finite()
    if _is_text(dtype):
        return part.cast(pl.String).str.contains("\0", literal=True)
    if isinstance(dtype, pl.Date | pl.Datetime):
        return ~part.dt.year().is_between(1, 9999)
    return None


def _hint(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Binary):
        return 'encode them: pl.col(…).bin.encode("hex")'
    if isinstance(dtype, pl.Duration):
        return "take their length as an integer: .dt.total_milliseconds()"
    return "take plain values, or a struct of plain values, or text: .struct.json_encode()"
