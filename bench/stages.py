"""How fast the log is read, and how fast it is decoded, each by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from kappa.avro.decode import BatchDecoder
from kappa.config import KafkaSettings
from kappa.log.history import topic_history
from kappa.log.reader import LogReader
from kappa.log.records import RawBatch, TopicPartition
from kappa.registry.topic import TopicRegistry


@dataclass(frozen=True)
class Stage:
    """One stage of the replay, alone."""

    records: int
    seconds: float


def fetch(kafka: KafkaSettings, topic: str) -> Stage:
    """Fetches every record and does nothing with it."""
    began = time.perf_counter()
    records = sum(len(batch.values) for batch in _batches(kafka, topic))
    return Stage(records, time.perf_counter() - began)


def decode(kafka: KafkaSettings, schemas: TopicRegistry, topic: str, limit: int) -> Stage:
    """Decodes records that are in memory already; ``limit`` bounds how many."""
    held: list[RawBatch] = []
    records = 0
    for batch in _batches(kafka, topic):
        held.append(batch)
        records += len(batch.values)
        if records >= limit:
            break
    decoder = BatchDecoder(schemas.latest(f"{topic}-value").schema, schemas.schema)
    began = time.perf_counter()
    decoded = sum(len(decoder.decode(batch.values).frame) for batch in held)
    return Stage(decoded, time.perf_counter() - began)


def _batches(kafka: KafkaSettings, topic: str) -> Iterator[RawBatch]:
    history = topic_history(kafka, topic)
    ranges = {
        TopicPartition(topic, part.partition): (part.log_start, part.end)
        for part in history.partitions
    }
    with LogReader(kafka, ranges, with_keys=False) as reader:
        waiting = list(ranges)
        while waiting:
            for part in list(waiting):
                batch = reader.next(part)
                if batch is None:
                    waiting.remove(part)
                else:
                    yield batch
