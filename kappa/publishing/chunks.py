"""What the formats read: consecutive records as raw columns, with the line of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

Raw: TypeAlias = "list[object] | pl.Series"
"""One column as its format gives it: Python values, or a typed column."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """Why one input record cannot be published. Lines and rows count from 1."""

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"line {self.line}{column}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive input records.

    ``lines`` has the line of each record and ``columns`` its fields, every field of the schema
    being there. ``tombstones`` and ``bad`` are the lines that are no records.
    """

    lines: Sequence[int]
    columns: Mapping[str, Raw]
    consumed: int
    """Bytes of the input read so far, for progress; of Parquet, rows."""
    tombstones: Sequence[Tombstone] = ()
    bad: Sequence[BadLine] = ()


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A line that asks for the deletion of a key."""

    line: int
    key: object
