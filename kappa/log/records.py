"""What the log hands over: partitions and raw record batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kappa.log.column import BytesColumn


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """One partition of one topic; sorts by topic, then partition."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A contiguous offset range of one partition and the committed records in it.

    The range ``[start_offset, next_offset)`` also covers offsets that deliver nothing:
    transaction markers, aborted records, gaps left by compaction. ``offsets``, ``timestamps``
    and ``values`` have one entry per record; ``keys`` too, or none at all if the reader was
    told to leave keys out.
    """

    topic: str
    partition: int
    start_offset: int
    """Inclusive: the position that was read from."""
    next_offset: int
    """Exclusive: the position to read from next."""
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    """The records' own timestamps in milliseconds."""
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    """Columns of bytes, as a rule: taking them out one by one costs more than reading them did."""
    size_bytes: int
    """Bytes fetched for this range, still compressed."""
    copies: Mapping[int, bytes | None] = field(default_factory=dict)
    """The header of the few records that have one, by offset; see ``kappa.log.copies``."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def key_column(self) -> pl.Series:
        """The keys as Polars has them, of type Binary."""
        if isinstance(self.keys, BytesColumn):
            return self.keys.to_polars()
        return pl.Series(self.keys, dtype=pl.Binary)

    @property
    def value_bytes(self) -> int:
        """Memory that the values take, decompressed."""
        if isinstance(self.values, BytesColumn):
            return self.values.size_bytes
        return sum(len(value) for value in self.values if value is not None)

    def split(self, max_records: int) -> Iterator[RawBatch]:
        """This batch in pieces of at most ``max_records``, which cover exactly its range.

        A piece ends where the next one's first record lies, so offsets that deliver nothing
        belong to the piece before them.
        """
        rest: RawBatch | None = self
        while rest is not None:
            piece, rest = rest.cut(max_records)
            yield piece

    def cut(self, records: int) -> tuple[RawBatch, RawBatch | None]:
        """The first ``records`` records and what is left, None if that is nothing."""
        total = len(self.values)
        if total <= records:
            return self, None
        middle = int(self.offsets[records])
        size = self.size_bytes * records // total
        first = replace(
            self,
            next_offset=middle,
            offsets=self.offsets[:records],
            timestamps=self.timestamps[:records],
            keys=self.keys[:records],
            values=self.values[:records],
            size_bytes=size,
            copies={at: header for at, header in self.copies.items() if at < middle},
        )
        left = replace(
            self,
            start_offset=middle,
            offsets=self.offsets[records:],
            timestamps=self.timestamps[records:],
            keys=self.keys[records:],
            values=self.values[records:],
            size_bytes=self.size_bytes - size,
            copies={at: header for at, header in self.copies.items() if at >= middle},
        )
        return first, left

    def without(self, offsets: Collection[int]) -> RawBatch:
        """The same range without the records at these offsets."""
        if not offsets:
            return self
        keep = ~np.isin(self.offsets, list(offsets))
        return replace(
            self,
            offsets=self.offsets[keep],
            timestamps=self.timestamps[keep],
            keys=_kept(self.keys, keep) if self.keys else self.keys,
            values=_kept(self.values, keep),
            copies={at: header for at, header in self.copies.items() if at not in offsets},
        )


def _kept(column: Sequence[bytes | None], keep: NDArray[np.bool_]) -> Sequence[bytes | None]:
    if isinstance(column, BytesColumn):
        return column.kept(keep)
    return [value for value, kept in zip(column, keep, strict=True) if kept]
