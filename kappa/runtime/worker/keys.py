"""The record keys of a few records, read again.

Most processors never look at a record's key, and reading all of them would cost as much as
reading the values. A dead letter keeps its key, so the keys of those few are fetched once more.
"""

from __future__ import annotations

from collections.abc import Collection

from kappa.config import KafkaSettings
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition


def read_keys(
    kafka: KafkaSettings, topic_id: str, place: TopicPartition, offsets: Collection[int]
) -> dict[int, bytes | None]:
    """Keys by offset; an offset that was compacted away meanwhile is left out."""
    if not offsets:
        return {}
    wanted = set(offsets)
    span = {place: (min(wanted), max(wanted) + 1)}
    found: dict[int, bytes | None] = {}
    with LogReader(kafka, span, topic_ids={place.topic: topic_id}, with_keys=True) as reader:
        while (batch := reader.next(place)) is not None:
            pairs = zip(batch.offsets.tolist(), batch.keys, strict=True)
            found |= {offset: key for offset, key in pairs if offset in wanted}
    return found
