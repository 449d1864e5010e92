"""The share of dead letters in a partition, held against the processor's limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kappa.log.records import TopicPartition
from kappa.runtime.letters import Letters
from kappa.tables.dead_letters import too_many


class DeadLetterBudget:
    """Stops a partition at the letter that is one too many.

    The rate is looked at with every letter and counts what came before it in its partition, so
    the same letter stops it whatever the batch size, the workers and the restarts. The count is
    that of the whole version, which a checkpoint compares with the table
    (``tables.dead_letters.require_room``); here it bounds what a checkpoint may gather.

    Args:
        start: the offset the partition was claimed at.
        records: how many records of it were folded before.
    """

    def __init__(self, place: TopicPartition, start: int, records: int, letters: Letters) -> None:
        self._place = place
        self._start = start
        self._records = records
        self._letters = letters
        self._limit = letters.limit
        self._open: int | None = None
        self._closed = 0
        self._gathered = 0

    def spend(self, offsets: NDArray[np.int64], dead: pl.DataFrame, applied: Sequence[int]) -> None:
        """Records were folded: their offsets, their letters, and which were copies for letters.

        Raises:
            TooManyDeadLetters: there are more than the processor goes on with.
        """
        if len(dead):
            # A copy that failed counts as its original does.
            fresh = dead.filter(pl.col("retry_of").is_null())["offset"].to_numpy()
            self._check(offsets, fresh, applied)
        self._records += len(offsets)
        self._closed += len(applied)

    def committed(self) -> None:
        """What was gathered goes into a checkpoint."""
        self._gathered = 0

    def _check(
        self, offsets: NDArray[np.int64], fresh: NDArray[np.int64], applied: Sequence[int]
    ) -> None:
        if self._open is None:
            self._open = self._letters.open_before(self._place, self._start)
        limit = self._limit
        gathered = self._gathered + np.arange(1, len(fresh) + 1)
        closed = self._closed + np.searchsorted(applied, fresh)
        letters = self._open - closed + np.arange(1, len(fresh) + 1)
        records = self._records + np.searchsorted(offsets, fresh, side="right")
        beyond = np.zeros(len(fresh), dtype=bool)
        if limit.count is not None:
            beyond |= gathered > limit.count
        if limit.rate is not None:
            beyond |= (letters > limit.rate * records) & (letters > limit.rate_from)
        if beyond.any():
            at = int(beyond.argmax())
            raise too_many(
                self._letters.processor,
                self._letters.version,
                topic=self._place.topic,
                partition=self._place.partition,
                offset=int(fresh[at]),
                letters=int(letters[at]),
                records=int(records[at]),
                most=limit.count,
                most_share=limit.rate,
            )
        self._open += len(fresh)
        self._gathered += len(fresh)
