"""Rows that handlers emit, until their batch is done and they become a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from kappa.errors import InvalidValue
from kappa.processing.keyed.emitted import held_type, take
from kappa.processing.keyed.turn import Turn

PLACE = pl.Schema({"_partition": pl.Int32(), "_offset": pl.Int64(), "_index": pl.Int32()})
"""The hidden columns of emitted rows: the record that caused a row, and its running number among
the rows of that record in one output."""


class Output:
    """The rows of one output: the main table or a side output.

    Args:
        columns: its columns.
        where: names it in errors.
        with_keys: whether rows have the key they were emitted for, as ``@key``.
    """

    def __init__(
        self, columns: Mapping[str, pl.DataType], *, where: str, with_keys: bool = False
    ) -> None:
        self._where = where
        self._types = dict(columns)
        self._take = [
            (name, take(dtype, where=f"{where}, column {name!r}"))
            for name, dtype in columns.items()
        ]
        self._held_schema = {
            **{name: held_type(dtype) for name, dtype in columns.items()},
            "_offset": pl.Int64(),
            "_index": pl.Int32(),
            **({"@key": pl.String()} if with_keys else {}),
        }
        self._with_keys = with_keys
        self._rows: list[tuple[Any, ...]] = []
        self._offset = -1
        self._index = 0

    def add(self, values: dict[str, Any], turn: Turn) -> None:
        """Adds a row; a column left out is null.

        Raises:
            InvalidValue: a column is not of the output, or cannot hold its value.
        """
        row = [
            None if (value := values.pop(name, None)) is None else taken(value)
            for name, taken in self._take
        ]
        if values:
            raise InvalidValue(
                f"{self._where} has no column {min(values)!r}",
                hint="its columns are " + ", ".join(self._types),
            )
        if turn.offset != self._offset:
            self._offset, self._index = turn.offset, 0
        key = (turn.key.text,) if self._with_keys else ()
        self._rows.append((*row, self._offset, self._index, *key))
        self._index += 1
        turn.undo.append((self._withdraw,))

    def collect(self, partition: int) -> pl.DataFrame | None:
        """The rows added since the last time, all of one partition; None where there are none."""
        self._offset = -1
        if not self._rows:
            return None
        rows, self._rows = self._rows, []
        held = pl.DataFrame(rows, schema=self._held_schema, orient="row", strict=True)
        return held.select(
            *(pl.col(name).cast(dtype) for name, dtype in self._types.items()),
            pl.lit(partition, pl.Int32).alias("_partition"),
            pl.col("_offset"),
            pl.col("_index"),
            *([pl.col("@key").cast(pl.Binary)] if self._with_keys else []),
        )

    def schema(self) -> pl.Schema:
        """The columns of ``collect``."""
        key = {"@key": pl.Binary()} if self._with_keys else {}
        return pl.Schema({**self._types, **PLACE, **key})

    def _withdraw(self) -> None:
        self._rows.pop()
        self._index -= 1
