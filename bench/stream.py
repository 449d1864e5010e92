"""Records that a measurement runs over: seeded, so that anybody gets the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

RECORDS = "KAPPA_BENCH_RECORDS"
"""The environment variable that tells a process how many records the topics have."""

PARTITIONS = 4
"""Of every topic."""


@dataclass(frozen=True, eq=False)
class Stream:
    """A topic's records.

    Attributes:
        name: of the topic that holds all of them.
        schema: Avro's.
        key: the column that is the record key.
        count: how many there are in full.
        chunks: the first so many of them, in the order they are published.
        stamped_by: the column that is also the record's timestamp; None for the time it is
            published.
    """

    name: str
    schema: Mapping[str, object]
    key: str
    count: int
    chunks: Callable[[int], Iterator[pl.DataFrame]]
    stamped_by: str | None = None

    def topic(self, count: int) -> str:
        """The topic that holds the first ``count`` records."""
        return self.name if count == self.count else f"{self.name}_{count}"

    @property
    def topic_here(self) -> str:
        """The topic that processors of this process read."""
        return self.topic(int(os.environ.get(RECORDS, self.count)))
