"""A record whose schema is not there yet: what lies before it is folded, the rest waits."""

from __future__ import annotations

import numpy as np
import pytest

from kappa import Projection, Source
from kappa.avro import schema as avro
from kappa.avro.columns import polars_schema
from kappa.avro.decode import BatchDecoder
from kappa.avro.schema import AvroSchema
from kappa.errors import BrokerUnavailable, KappaError, RegistryUnavailable, UnknownSchema
from kappa.log.records import RawBatch
from kappa.processing.events import Fold
from kappa.processing.store import NothingStored
from kappa.runtime.worker.aside import Aside
from kappa.runtime.worker.letters import NoLetters
from kappa.runtime.worker.partition import PartitionRun
from kappa.tables.progress import Claimed
from tests.readings import SCHEMA, START_MS, Reading, encoded

KNOWN, LATER = 1, 2


class Partition:
    """A claimed partition of readings, and a registry that lacks ``LATER`` at first."""

    def __init__(self) -> None:
        self.run = PartitionRun(
            Claimed("readings", 0, "id", 1, 100, 0, None, None, None, 0),
            None,
            NoLetters("lines", 1),
        )
        reader = avro.parse(SCHEMA)
        source = Source("readings", event_time="at")
        lines = Projection(name="lines", version=1, source=source, columns=["code"])
        self.fold: Fold = lines.bind(polars_schema(reader)).fold(lambda frame: [], NothingStored())
        self.registered = {KNOWN: reader}
        self.unreadable: KappaError | None = None
        self._decoder = BatchDecoder(reader, self._schema)

    def take(self, raw: RawBatch) -> list[int]:
        """Folds the batch; returns the offsets of its dead letters."""
        dead = self.run.fold(raw, self._decoder, self.fold, lambda offsets: {})
        return dead["offset"].to_list()

    def rows(self) -> list[int]:
        rows: list[int] = self.fold.flush().rows["_offset"].to_list()
        return rows

    def _schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in self.registered:
            if self.unreadable is not None:
                raise self.unreadable
            raise UnknownSchema("no schema has this id", schema_id=schema_id)
        return self.registered[schema_id]


def batch(start: int, *values: bytes, copies: dict[int, bytes] | None = None) -> RawBatch:
    count = len(values)
    return RawBatch(
        topic="readings",
        partition=0,
        start_offset=start,
        next_offset=start + count,
        offsets=np.arange(start, start + count),
        timestamps=np.full(count, START_MS),
        keys=[b"s"] * count,
        values=values,
        size_bytes=10 * count,
        copies=copies or {},
    )


def of(schema_id: int) -> bytes:
    return encoded(schema_id, Reading("s", 1, 1.0, START_MS))


POISON = b"\xffpoison"


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("after", [0, 3])
def test_it_stands_at_the_record_and_goes_on_from_there(before: int, after: int) -> None:
    part = Partition()
    raw = batch(100, *[of(KNOWN)] * before, of(LATER), *[of(KNOWN)] * after)
    assert part.take(raw) == []
    assert part.run.lacks is not None
    assert part.run.position == 100 + before
    step = part.run.checkpoint(0)
    assert (None if step is None else step[0].records) == (before or None)
    _, rest = raw.cut(before)
    assert rest is not None
    part.registered[LATER] = part.registered[KNOWN]
    assert part.take(rest) == []
    assert part.run.lacks is None
    assert part.run.position == raw.next_offset
    assert part.rows() == list(range(100, raw.next_offset))
    step = part.run.checkpoint(0)
    assert step is not None
    assert step[0].records == 1 + after


@pytest.mark.parametrize("error", [RegistryUnavailable("no"), BrokerUnavailable("no")])
def test_who_waits_goes_on_waiting_while_the_registry_cannot_be_read(error: KappaError) -> None:
    """Who has not asked yet does not: all that its worker needs may be unknown."""
    part = Partition()
    raw = batch(100, of(LATER))
    part.unreadable = error
    with pytest.raises(type(error)):
        part.take(raw)
    part.unreadable = None
    part.take(raw)
    part.unreadable = error
    for _ in range(2):
        assert part.take(raw) == []
        assert part.run.lacks is not None
        assert part.run.position == 100
    part.registered[LATER] = part.registered[KNOWN]
    assert part.take(raw) == []
    assert (part.run.lacks, part.run.position) == (None, 101)


def test_dead_letters_and_copies_before_it_are_taken_once() -> None:
    """The copy at 103 is of the letter at 101, and so begins a stretch of its own."""
    part = Partition()
    copy = {103: b"id/0/101"}
    raw = batch(100, of(KNOWN), POISON, of(KNOWN), of(KNOWN), POISON, of(LATER), copies=copy)
    assert part.take(raw) == [101, 104]
    assert part.run.position == 105
    step = part.run.checkpoint(0)
    assert step is not None
    assert (step[0].records, step[0].dead, step[0].filtered) == (5, 2, 0)
    assert [one.original for one in part.run.take_applied()] == [101]
    assert part.rows() == [100, 102, 103]


def test_each_pause_is_longer_and_getting_on_ends_them() -> None:
    aside, now, pauses = Aside(), 0.0, []
    for _ in range(8):
        aside.put(3, UnknownSchema("no"), now)
        begun = now
        while aside.waits(3, now):
            now += 0.25
        pauses.append(now - begun)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert not aside.waits(2, now)
    assert list(aside.errors) == [3]
    aside.take_back(3)
    assert not aside.errors
    aside.put(3, UnknownSchema("no"), now)
    assert aside.waits(3, now)
    assert not aside.waits(3, now + 0.25)
