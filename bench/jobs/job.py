"""What every job has: a processor, the same by hand, and the same in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from confluent_kafka import Message

from bench.stream import Stream
from kappa import KeyedProcessor, WindowedAggregate

Arrived = Iterable[tuple[Message, dict[str, Any]]]
"""Messages and their values in the order a consumer gets them; timestamps are plain ms."""


@dataclass(frozen=True)
class Job:
    """One job, to be done by kappa and by hand.

    Attributes:
        title: what it works out.
        stream: of what.
        processor: how kappa does it.
        by_hand: how one would do it without kappa: the rows as lines of COPY.
        table: columns and key of the table such rows go into.
        expected: what either table must hold, as DuckDB's SQL over ``records``: the stream's
            columns, times in UTC, the ``partition`` each lies in, and ``line``, their order.
        target: records/s that kappa should reach on one core of its own.
    """

    title: str
    stream: Stream
    processor: WindowedAggregate | KeyedProcessor
    by_hand: Callable[[Arrived], Iterable[str]]
    table: str
    expected: str
    target: int

    @property
    def name(self) -> str:
        """The processor's and the view's."""
        return self.processor.name


@lru_cache(maxsize=10_000)
def instant(ms: int) -> str:
    """Milliseconds since 1970 as PostgreSQL reads them."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
