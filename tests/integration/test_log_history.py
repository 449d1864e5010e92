"""What a topic still holds, and the guard in front of every rebuild."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition as ConfluentPartition

from kappa.config import KafkaSettings
from kappa.errors import CompactedTopic, HistoryTruncated, UnknownTopic
from kappa.log.history import require_complete, topic_history
from tests.integration.kafka_scenes import admin, fill, make_topic

Unique = Callable[[str], str]


def test_a_whole_topic_passes(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(
        kafka, unique("whole"), 3, message_timestamp_type="LogAppendTime", delete_retention_ms="77"
    )
    fill(kafka, topic, [(None, b"v")] * 4, partition=2)
    history = topic_history(kafka, topic)
    assert (history.topic, history.compacted, history.log_append_time) == (topic, False, True)
    assert history.delete_retention_ms == 77
    assert [(p.partition, p.log_start, p.end, p.high_watermark) for p in history.partitions] == [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (2, 0, 4, 4),
    ]
    assert {part.topic_id for part in history.partitions} == {history.topic_id}
    assert require_complete(history) == ()


def test_a_truncated_partition_is_named_unless_allowed(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("short"), 2)
    fill(kafka, topic, [(None, b"v")] * 9, partition=1)
    client = admin(kafka)
    upto = ConfluentPartition(topic, 1, 5)
    client.delete_records([upto])[upto].result(20)

    history = topic_history(kafka, topic)
    with pytest.raises(HistoryTruncated) as caught:
        require_complete(history)
    assert caught.value.detail == {"topic": topic, "partition": 1, "log_start": 5}
    assert "--allow-truncated" in caught.value.hint
    assert require_complete(history, allow_truncated=True) == (f"{topic}/1 begins at offset 5",)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_needs_a_processor_that_accepts_it(
    kafka: KafkaSettings, unique: Unique, policy: str
) -> None:
    topic = make_topic(kafka, unique("compacted"), cleanup_policy=policy)
    history = topic_history(kafka, topic)
    with pytest.raises(CompactedTopic) as caught:
        require_complete(history, allow_truncated=True)
    assert caught.value.detail == {"topic": topic}
    assert require_complete(history, accept_compacted=True) == ()


def test_a_topic_that_does_not_exist(kafka: KafkaSettings, unique: Unique) -> None:
    topic = unique("missing")
    with pytest.raises(UnknownTopic) as caught:
        topic_history(kafka, topic)
    assert caught.value.detail == {"topic": topic}
