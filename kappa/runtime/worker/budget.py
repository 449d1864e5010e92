"""The dead letters of a partition, held against the processor's limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kappa.log.records import TopicPartition
from kappa.runtime.worker.letters import Letters
from kappa.tables.dead_letters import too_many


class DeadLetterBudget:
    """Stops a partition at the letter that is one too many.

    It looks at every letter and counts what came before it in its partition, so the same letter
    stops it whatever the batch size, the workers and the restarts. That the partitions of a
    version do not have too many together, each checkpoint finds out from the table
    (``tables.dead_letters.require_room``).

    Args:
        start: the offset the partition was claimed at.
        records: how many records of it were folded before.
    """

    def __init__(self, place: TopicPartition, start: int, records: int, letters: Letters) -> None:
        self._place = place
        self._start = start
        self._records = records
        self._letters = letters
        self._before: int | None = None
        self._dropped = 0
        self._made = 0
        self._closed = 0

    def spend(self, offsets: NDArray[np.int64], dead: pl.DataFrame, applied: Sequence[int]) -> None:
        """Records were folded: their offsets, their letters, and which were copies for letters.

        Raises:
            TooManyDeadLetters: there are more than the processor goes on with.
        """
        if len(dead):
            # A copy that failed counts as its original does.
            made = dead.filter(pl.col("retry_of").is_null())
            if len(made):
                self._check(offsets, made, applied)
            self._made += len(made)
        self._records += len(offsets)
        self._closed += len(applied)

    def _check(
        self, offsets: NDArray[np.int64], made: pl.DataFrame, applied: Sequence[int]
    ) -> None:
        """With each letter made: how many are open then, among how many records."""
        places = made["offset"].to_numpy()
        records = self._records + np.searchsorted(offsets, places, side="right")
        here = np.arange(1, len(made) + 1) - np.searchsorted(applied, places)
        found = self._beyond(here, records)
        if found is not None:
            self._ask()  # a person may have dropped some since
            found = self._beyond(here, records)
        if found is not None:
            last = made.row(found, named=True)
            raise too_many(
                self._letters.processor,
                self._letters.version,
                f"{last['error_class']}: {last['message']}",
                topic=self._place.topic,
                partition=self._place.partition,
                offset=last["offset"],
                letters=int(self._open + here[found]),
                records=int(records[found]),
                limit=self._letters.limit.count,
                rate_limit=self._letters.limit.rate,
            )

    def _beyond(self, here: NDArray[np.int64], records: NDArray[np.int64]) -> int | None:
        """The first letter that goes beyond a limit, by its number here."""
        limit = self._letters.limit
        letters = self._open + here
        beyond = np.zeros(len(here), dtype=bool)
        if limit.count is not None:
            beyond |= letters > limit.count
        if limit.rate is not None:
            beyond |= (letters > limit.rate * records) & (letters > limit.rate_from)
        return int(beyond.argmax()) if beyond.any() else None

    @property
    def _open(self) -> int:
        """How many letters were open before the records at hand."""
        if self._before is None:
            self._ask()
        assert self._before is not None
        return self._before + self._made - self._closed - self._dropped

    def _ask(self) -> None:
        self._before = self._letters.open_before(self._place, self._start)
        self._dropped = self._letters.dropped_from(self._place, self._start)
