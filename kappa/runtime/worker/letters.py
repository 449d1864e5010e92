"""The dead letters of a version as they were when a partition was claimed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from sqlalchemy import Engine

from kappa.log.records import TopicPartition
from kappa.processing.dead_letter_limit import NO_LIMIT, DeadLetterLimit
from kappa.tables import dead_letters
from kappa.tables.dead_letters import Known


class Letters(Protocol):
    """Looks letters of one version up.

    Attributes:
        processor, version: whose they are.
        limit: how many it goes on with.
    """

    @property
    def processor(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def limit(self) -> DeadLetterLimit: ...

    def known(self, place: TopicPartition, offsets: Collection[int]) -> Mapping[int, Known]:
        """What there is of the records at these offsets of a partition."""

    def open_before(self, place: TopicPartition, offset: int) -> int:
        """How many letters of a partition before ``offset`` were open when it was reached."""

    def dropped_from(self, place: TopicPartition, offset: int) -> int:
        """How many letters of a partition from ``offset`` on were dropped, and not retried."""


class StoredLetters:
    """The committed letters; a connection of its own for each question."""

    def __init__(
        self, engine: Engine, processor: str, version: int, limit: DeadLetterLimit
    ) -> None:
        self.processor = processor
        self.version = version
        self.limit = limit
        self._engine = engine

    def known(self, place: TopicPartition, offsets: Collection[int]) -> Mapping[int, Known]:
        with self._engine.connect() as connection:
            return dead_letters.known(
                connection, self.processor, self.version, place.topic, place.partition, offsets
            )

    def open_before(self, place: TopicPartition, offset: int) -> int:
        with self._engine.connect() as connection:
            return dead_letters.open_before(
                connection, self.processor, self.version, place.topic, place.partition, offset
            )

    def dropped_from(self, place: TopicPartition, offset: int) -> int:
        with self._engine.connect() as connection:
            return dead_letters.dropped_from(
                connection, self.processor, self.version, place.topic, place.partition, offset
            )


class NoLetters:
    """A version without letters and without a limit, for trials that commit nothing."""

    limit = NO_LIMIT

    def __init__(self, processor: str, version: int) -> None:
        self.processor = processor
        self.version = version

    def known(self, place: TopicPartition, offsets: Collection[int]) -> Mapping[int, Known]:
        return {}

    def open_before(self, place: TopicPartition, offset: int) -> int:
        return 0

    def dropped_from(self, place: TopicPartition, offset: int) -> int:
        return 0
