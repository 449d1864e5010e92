"""Parquet: typed columns, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from kappa.avro.nodes import Field
from kappa.errors import BadRecord
from kappa.publishing.chunks import Chunk
from kappa.publishing.whole import filled, require_fields

_BATCH_ROWS = 32_768


def read(path: Path, fields: Sequence[Field]) -> Iterator[Chunk]:
    """The rows of the file, counted from 1.

    Raises:
        BadRecord: it is no Parquet file, or its columns do not fit the schema.
    """
    try:
        with parquet.ParquetFile(path) as file:
            require_fields(file.schema_arrow.names, fields, line=None)
            row = 0
            for batch in file.iter_batches(_BATCH_ROWS):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                lines = range(row + 1, row + 1 + len(frame))
                row += len(frame)
                columns = filled({s.name: s for s in frame.get_columns()}, fields, len(frame))
                yield Chunk(lines, columns, row)
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise BadRecord(f"not readable as Parquet: {error}", file=str(path)) from error


def count_rows(path: Path) -> int:
    """How many rows the file has, for progress.

    Raises:
        BadRecord: it is no Parquet file.
    """
    try:
        return int(parquet.read_metadata(path).num_rows)
    except pa.ArrowException as error:
        raise BadRecord(f"not readable as Parquet: {error}", file=str(path)) from error
