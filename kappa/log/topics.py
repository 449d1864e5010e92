"""Topics as kappa wants them: kept for ever, with timestamps of the broker's clock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka.admin import NewTopic

from kappa.config import KafkaSettings
from kappa.errors import InvalidTopicName, LogError, UnknownTopic
from kappa.log.client import KafkaConnection
from kappa.log.history import (
    Mark,
    PartitionHistory,
    TopicHistory,
    ask_configs,
    ask_offsets,
    config_of,
    describe,
    history_of,
    is_compacted,
    offsets,
    topic_config,
)
from kappa.log.records import TopicPartition
from kappa.log.sizes import partition_sizes

DEFAULT_PARTITIONS = 3
_BROKER_DEFAULT = -1
_POLL_S = 0.02
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """One line of the list of topics."""

    topic: str
    partitions: int
    compacted: bool
    offsets: int | None
    """Offsets in the log, an upper bound of the records; None if a partition has no leader."""
    complete: bool | None
    """Whether every partition still begins at offset zero; None if one has no leader."""


@dataclass(frozen=True, slots=True)
class PartitionDetail:
    """One partition: what it holds and how much disk that takes."""

    history: PartitionHistory
    leader: int | None
    """The broker that leads it; None while none does."""
    size_bytes: int | None
    """On the leader's disk; None if it did not say."""


@dataclass(frozen=True, slots=True)
class TopicDetail:
    """One topic in full."""

    history: TopicHistory
    retention_ms: int
    """-1 keeps records for ever."""
    retention_bytes: int
    replication_factor: int
    partitions: tuple[PartitionDetail, ...]


def check_name(topic: str) -> None:
    """Refuses names Kafka would refuse.

    Raises:
        InvalidTopicName
    """
    if _NAME.fullmatch(topic) and topic not in (".", ".."):
        return
    raise InvalidTopicName(
        "Kafka does not allow this topic name",
        topic=topic,
        hint="1 to 249 of letters, digits, '.', '_' and '-'; not '.' or '..'",
    )


def exists(kafka: KafkaSettings, topic: str) -> bool:
    """Whether there is a topic of this name.

    Raises:
        BrokerUnavailable: nobody could say.
    """
    with KafkaConnection(kafka) as connection:
        try:
            describe(connection, topic)
        except UnknownTopic:
            return False
        return True


def create_topic(
    kafka: KafkaSettings,
    topic: str,
    *,
    partitions: int = DEFAULT_PARTITIONS,
    compact: bool = False,
    replication_factor: int | None = None,
) -> None:
    """Creates a topic whose records are kept for ever; returns once every partition has a leader.

    Raises:
        InvalidTopicName, TopicExists, BrokerUnavailable
        LogError: the broker refuses, for example more replicas than there are brokers.
    """
    check_name(topic)
    new = NewTopic(
        topic,
        partitions,
        replication_factor or _BROKER_DEFAULT,
        config={
            "cleanup.policy": "compact" if compact else "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
        },
    )
    with KafkaConnection(kafka) as connection:
        with connection.translating(topic=topic):
            futures = connection.admin().create_topics([new], request_timeout=connection.timeout_s)
        connection.results(futures, topic=topic)
        _wait_for_leaders(connection, topic)


def list_topics(kafka: KafkaSettings) -> tuple[TopicSummary, ...]:
    """Every topic but Kafka's internal ones, by name.

    Raises:
        BrokerUnavailable
    """
    with KafkaConnection(kafka) as connection:
        with connection.translating():
            metadata = connection.admin().list_topics(timeout=connection.timeout_s)
        topics = {
            name: sorted(about.partitions)
            for name, about in metadata.topics.items()
            if not name.startswith("__")
        }
        parts = [TopicPartition(name, p) for name, numbers in topics.items() for p in numbers]
        starts = _known(connection, parts, Mark.START)
        ends = _known(connection, parts, Mark.STABLE_END)
        configs = _configs(connection, topics)
    return tuple(
        _summary(config, [TopicPartition(name, p) for p in topics[name]], starts, ends)
        for name, config in sorted(configs.items())
    )


def show_topic(kafka: KafkaSettings, topic: str) -> TopicDetail:
    """One topic in full, partition by partition.

    Raises:
        UnknownTopic, BrokerUnavailable
    """
    with KafkaConnection(kafka) as connection:
        description = describe(connection, topic)
        config = topic_config(connection, topic)
        history = history_of(connection, description, config)
    leaders = {
        info.id: int(info.leader.id) for info in description.partitions if info.leader is not None
    }
    sizes = partition_sizes(kafka, topic, leaders)
    return TopicDetail(
        history=history,
        retention_ms=int(config["retention.ms"]),
        retention_bytes=int(config["retention.bytes"]),
        replication_factor=max(len(info.replicas) for info in description.partitions),
        partitions=tuple(
            PartitionDetail(part, leaders.get(part.partition), sizes.get(part.partition))
            for part in history.partitions
        ),
    )


def _summary(
    config: dict[str, str],
    parts: list[TopicPartition],
    starts: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> TopicSummary:
    known = all(at in starts and at in ends for at in parts)
    return TopicSummary(
        topic=parts[0].topic,
        partitions=len(parts),
        compacted=is_compacted(config),
        offsets=sum(ends[at] - starts[at] for at in parts) if known else None,
        complete=not any(starts[at] for at in parts) if known else None,
    )


def _configs(connection: KafkaConnection, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of each topic, without those deleted since they were listed."""
    configs: dict[str, dict[str, str]] = {}
    for topic, future in ask_configs(connection, topics).items():
        try:
            configs[topic] = config_of(connection.result(future, topic=topic))
        except UnknownTopic:
            continue
    return configs


def _known(
    connection: KafkaConnection, parts: list[TopicPartition], mark: Mark
) -> dict[TopicPartition, int]:
    """The offsets brokers could tell: one partition without a leader must not hide the rest."""
    offsets: dict[TopicPartition, int] = {}
    for at, future in ask_offsets(connection, parts, mark).items():
        try:
            offsets[at] = connection.result(future).offset
        except LogError:
            continue
    return offsets


def _wait_for_leaders(connection: KafkaConnection, topic: str) -> None:
    """A new topic is known to every broker, and led, only a moment after it was created."""
    deadline = time.monotonic() + connection.timeout_s
    while True:
        try:
            numbers = [info.id for info in describe(connection, topic).partitions]
            offsets(connection, [TopicPartition(topic, number) for number in numbers], Mark.START)
        except UnknownTopic:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return
