"""Runs the records of dead letters through a version again, without writing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from kappa.avro.decode import BatchDecoder
from kappa.errors import SchemaError
from kappa.log.records import RawBatch
from kappa.processing.events import of_records
from kappa.processing.keyed.declaration import BoundKeyedProcessor
from kappa.processing.store import NothingStored
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly
from kappa.runtime.worker.letters import NoLetters
from kappa.runtime.worker.partition import PartitionRun
from kappa.runtime.worker.worker import storable_in
from kappa.tables.letters import Letter
from kappa.tables.progress import Claimed

_AT_ONCE = 1_000
"""Records folded together, where none depends on another."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a letter's record this time; no error class where it was processed."""

    letter: Letter
    error_class: str | None = None
    message: str | None = None


class Recheck:
    """Tries records on one version.

    A keyed processor meets each of them with empty state, since what its state was at that place
    in the log is not known any more.

    Args:
        timestamp: the records' timestamp, ms, as that of copies sent now; None for the one that
            each had.
    """

    def __init__(self, assembly: Assembly, registry: TopicRegistry, timestamp: int | None) -> None:
        self._assembly = assembly
        self._registry = registry
        self._timestamp = timestamp
        self.with_empty_state = isinstance(assembly.bound, BoundKeyedProcessor)

    def verdicts(self, letters: Iterable[Letter]) -> Iterator[Verdict]:
        """What becomes of letters of records, which are in the order of their places."""
        for _, of_partition in groupby(letters, lambda letter: (letter.topic, letter.partition)):
            most = 1 if self.with_empty_state else _AT_ONCE
            chunk: list[Letter] = []
            for letter in of_partition:
                chunk.append(letter)
                if len(chunk) == most:
                    yield from self._judge(chunk)
                    chunk = []
            if chunk:
                yield from self._judge(chunk)

    def _judge(self, letters: Sequence[Letter]) -> Iterator[Verdict]:
        try:
            failed = self._failures(letters)
        except SchemaError as error:  # one alone would stop a worker
            if len(letters) == 1:
                yield Verdict(letters[0], type(error).__name__, error.message)
                return
            middle = len(letters) // 2
            yield from self._judge(letters[:middle])
            yield from self._judge(letters[middle:])
            return
        for letter in letters:
            yield Verdict(letter, *failed.get(letter.offset, (None, None)))

    def _failures(self, letters: Sequence[Letter]) -> dict[int, tuple[str, str]]:
        """Error class and message of those that fail, by offset; their timers do not count."""
        assembly = self._assembly
        fold = assembly.bound.fold(storable_in(assembly.layout), NothingStored())
        decoder = BatchDecoder(assembly.reader, self._registry.schema, columns=fold.reads)
        raw = self._raw(letters)
        run = PartitionRun(_claimed(raw), None, NoLetters(assembly.name, assembly.version))
        dead = run.fold(raw, decoder, fold, lambda offsets: {})
        if run.lacks is not None:
            raise run.lacks
        return {
            offset: (error_class, message)
            for offset, error_class, message in of_records(dead)
            .select("offset", "error_class", "message")
            .rows()
        }

    def _raw(self, letters: Sequence[Letter]) -> RawBatch:
        offsets = [letter.offset for letter in letters]
        stamps = [
            letter.timestamp if self._timestamp is None else self._timestamp for letter in letters
        ]
        return RawBatch(
            topic=letters[0].topic,
            partition=letters[0].partition,
            start_offset=offsets[0],
            next_offset=offsets[-1] + 1,
            offsets=np.array(offsets, dtype=np.int64),
            timestamps=np.array(stamps, dtype=np.int64),
            keys=[letter.key for letter in letters],
            values=[letter.value for letter in letters],
            size_bytes=0,
        )


def _claimed(raw: RawBatch) -> Claimed:
    """The partition as if nothing of it had been read."""
    return Claimed(
        topic=raw.topic,
        partition=raw.partition,
        topic_id="",
        epoch=0,
        next_offset=raw.start_offset,
        start_offset=raw.start_offset,
        target_offset=None,
        max_event_time=None,
        max_record_time=None,
        records=0,
    )
