"""``kappa produce``: records from a file or standard input to a topic."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kappa.config import Settings, require_kafka
from kappa.errors import BadRecord
from kappa.log.publish import Producer
from kappa.publishing.chunks import BadLine as BadLine
from kappa.publishing.files import Format as Format
from kappa.publishing.files import Input, choose
from kappa.publishing.target import Batch, Target
from kappa.registry.topic import TopicRegistry

LISTED = 10
"""So many of the lines passed over are listed."""

HELD_BYTES = 64 * 1024 * 1024
"""A file of up to so many bytes of records is read once: they are kept while it is checked."""

OnProgress = Callable[[str, int, int | None, int], None]
"""Hears: ``checking`` or ``publishing``, how far, of how much if known, and records so far."""


@dataclass(frozen=True)
class Produced:
    """What was published.

    Attributes:
        records: published records, tombstones among them.
        bytes: their values and keys, before compression.
        skipped: lines passed over; ``bad`` has the first of them.
    """

    topic: str
    format: Format
    schema_id: int
    records: int
    tombstones: int
    bytes: int
    skipped: int
    bad: tuple[BadLine, ...]
    seconds: float
    records_per_second: float


def produce(
    settings: Settings,
    topic: str,
    file: Path | None,
    *,
    given: Format | None,
    skip_bad: bool,
    on_progress: OnProgress,
) -> Produced:
    """Publishes every record of the input, or of a regular file with a bad line none.

    Args:
        file: None is standard input.
        given: the format; by default it goes by the file's name.
        skip_bad: pass over lines that do not fit the schema.

    Raises:
        BadRecord: a line does not fit. Of a regular file nothing was published then; of a
            pipe the lines before it were, and the detail ``published`` says how many.
        DeliveryFailed: the broker did not acknowledge.
    """
    began = time.monotonic()
    source = choose(file, given)
    kafka = require_kafka(settings)
    target = Target(TopicRegistry(kafka, settings.registry.topic), topic)
    with _no_cycles():
        checked = None
        if source.rereadable and not skip_bad:
            checked = _check(source, target, on_progress)
        batches = _encoded(source, target) if checked is None else iter(checked)
        with Producer(kafka) as producer:
            tally = _publish(batches, target.topic, producer, skip_bad, source.size(), on_progress)
            producer.flush()
    seconds = time.monotonic() - began
    return Produced(
        topic=topic,
        format=source.format,
        schema_id=target.schema_id,
        records=tally.records,
        tombstones=tally.tombstones,
        bytes=tally.bytes,
        skipped=tally.skipped,
        bad=tally.bad,
        seconds=round(seconds, 3),
        records_per_second=round(tally.records / seconds, 1),
    )


@dataclass(frozen=True)
class _Tally:
    records: int = 0
    tombstones: int = 0
    bytes: int = 0
    skipped: int = 0
    bad: tuple[BadLine, ...] = ()

    def plus(self, batch: Batch) -> _Tally:
        return replace(
            self,
            records=self.records + len(batch.values),
            tombstones=self.tombstones + sum(1 for value in batch.values if value is None),
            bytes=self.bytes + batch.size_bytes,
            skipped=self.skipped + len(batch.bad),
            bad=(self.bad + tuple(batch.bad))[:LISTED],
        )


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Rows are many small objects without cycles; looking for some takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check(source: Input, target: Target, on_progress: OnProgress) -> list[Batch] | None:
    """Passes if every record fits; what was encoded for it, if it is not too much to keep."""
    size, records, held = source.size(), 0, 0
    kept: list[Batch] = []
    for batch in _encoded(source, target):
        if batch.bad:
            raise _refused(batch.bad[0], published=0)
        records += len(batch.values)
        held += batch.size_bytes
        if held <= HELD_BYTES:
            kept.append(batch)
        else:
            kept.clear()
        on_progress("checking", batch.consumed, size, records)
    return kept if held <= HELD_BYTES else None


def _encoded(source: Input, target: Target) -> Iterator[Batch]:
    return (target.encode(chunk) for chunk in source.chunks(target))


def _publish(
    batches: Iterator[Batch],
    topic: str,
    producer: Producer,
    skip_bad: bool,
    size: int | None,
    on_progress: OnProgress,
) -> _Tally:
    tally = _Tally()
    for batch in batches:
        stop = batch.bad[0] if batch.bad and not skip_bad else None
        sent = batch if stop is None else batch.before(stop.line)
        if sent.values:
            producer.send(topic, sent.values, sent.keys)
        tally = tally.plus(sent)
        if stop is not None:
            producer.flush()
            raise _refused(stop, published=tally.records)
        on_progress("publishing", batch.consumed, size, tally.records)
    return tally


def _refused(bad: BadLine, *, published: int) -> BadRecord:
    return BadRecord(
        bad.reason,
        line=bad.line,
        column=bad.column or None,
        published=published,
        hint="--skip-bad passes over lines that do not fit"
        if not published
        else f"what comes before line {bad.line} was published; go on from there",
    )
