"""What a topic's log still holds, and the guard in front of every rebuild.

A table rebuilt from offset zero is right only if offset zero is still there. The broker tells
where each partition begins and ends now; ``require_complete`` refuses what would silently give
a table of a part of history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto

from confluent_kafka import IsolationLevel, TopicCollection
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import (
    ConfigEntry,
    ConfigResource,
    ListOffsetsResultInfo,
    OffsetSpec,
    TopicDescription,
)

from kappa.config import KafkaSettings
from kappa.errors import CompactedTopic, HistoryTruncated
from kappa.log.client import KafkaConnection
from kappa.log.records import TopicPartition

_COMMITTED = IsolationLevel.READ_COMMITTED
_UNCOMMITTED = IsolationLevel.READ_UNCOMMITTED


@dataclass(frozen=True, slots=True)
class PartitionHistory:
    """The offsets one partition holds, at the moment the broker was asked."""

    topic: str
    partition: int
    topic_id: str
    log_start: int
    """The first offset still in the log."""
    end: int
    """The last stable offset, exclusive: everything before it is committed or aborted."""
    high_watermark: int
    """Exclusive end including transactions that are still open."""

    @property
    def complete(self) -> bool:
        """Whether the log still begins at offset zero."""
        return self.log_start == 0


@dataclass(frozen=True, slots=True)
class TopicHistory:
    """A topic's identity, the settings that may remove its history, and its partitions."""

    topic: str
    topic_id: str
    """Changes when a topic is deleted and created again under its name."""
    compacted: bool
    log_append_time: bool
    """Whether record timestamps are the broker's, not the producer's."""
    delete_retention_ms: int
    """How long compaction keeps a tombstone, at least."""
    partitions: tuple[PartitionHistory, ...]


def topic_history(kafka: KafkaSettings, topic: str) -> TopicHistory:
    """What the topic's log holds now.

    Raises:
        UnknownTopic: there is no such topic.
        BrokerUnavailable: no broker answered in time.
    """
    with KafkaConnection(kafka) as connection:
        return read_history(connection, topic)


def read_history(connection: KafkaConnection, topic: str) -> TopicHistory:
    """``topic_history`` over a connection that is open already."""
    return history_of(connection, describe(connection, topic), topic_config(connection, topic))


def history_of(
    connection: KafkaConnection, description: TopicDescription, config: Mapping[str, str]
) -> TopicHistory:
    """``read_history`` of a topic whose description and settings are known already."""
    topic = str(description.name)
    topic_id = str(description.topic_id)
    numbers = sorted(info.id for info in description.partitions)
    asked = [TopicPartition(topic, number) for number in numbers]
    starts = offsets(connection, asked, Mark.START)
    ends = offsets(connection, asked, Mark.STABLE_END)
    marks = offsets(connection, asked, Mark.HIGH_WATERMARK)
    return TopicHistory(
        topic=topic,
        topic_id=topic_id,
        compacted=is_compacted(config),
        log_append_time=config["message.timestamp.type"] == "LogAppendTime",
        delete_retention_ms=int(config["delete.retention.ms"]),
        partitions=tuple(
            PartitionHistory(topic, at.partition, topic_id, starts[at], ends[at], marks[at])
            for at in asked
        ),
    )


def require_complete(
    history: TopicHistory, *, accept_compacted: bool = False, allow_truncated: bool = False
) -> tuple[str, ...]:
    """The genesis guard: passes only if every partition's history is whole.

    Returns:
        One line for each flaw that was overridden, for the manifest; empty if there was none.

    Raises:
        CompactedTopic: compaction may have removed records and ``accept_compacted`` is false.
        HistoryTruncated: a partition begins above offset zero and ``allow_truncated`` is false.
    """
    overridden: list[str] = []
    if history.compacted and not accept_compacted:
        raise CompactedTopic(
            "the topic is compacted: older records of a key may be gone",
            topic=history.topic,
            hint="read it with a processor that keeps the latest row per key",
        )
    for part in history.partitions:
        if part.complete:
            continue
        if not allow_truncated:
            raise HistoryTruncated(
                "history is incomplete: the log no longer begins at offset 0",
                topic=part.topic,
                partition=part.partition,
                log_start=part.log_start,
                hint="--allow-truncated builds from what is left and records that for good",
            )
        overridden.append(f"{part.topic}/{part.partition} begins at offset {part.log_start}")
    return tuple(overridden)


class Mark(Enum):
    """A place in a partition that the broker can be asked for."""

    START = auto()
    STABLE_END = auto()
    HIGH_WATERMARK = auto()


def describe(connection: KafkaConnection, topic: str) -> TopicDescription:
    """The broker's description of one topic: id, partitions, leaders."""
    with connection.translating(topic=topic):
        futures = connection.admin().describe_topics(
            TopicCollection([topic]), request_timeout=connection.timeout_s
        )
    description: TopicDescription = connection.results(futures, topic=topic)[topic]
    return description


def topic_config(connection: KafkaConnection, topic: str) -> dict[str, str]:
    """The topic's settings in force, defaults included."""
    (future,) = ask_configs(connection, [topic]).values()
    return config_of(connection.result(future, topic=topic))


def is_compacted(config: Mapping[str, str]) -> bool:
    """Whether the topic's settings let compaction remove records."""
    return "compact" in config["cleanup.policy"].split(",")


def ask_configs(
    connection: KafkaConnection, topics: Iterable[str]
) -> dict[str, Future[dict[str, ConfigEntry]]]:
    """Asks for the settings of topics; ``config_of`` reads an answer."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    if not resources:
        return {}
    with connection.translating():
        futures = connection.admin().describe_configs(
            resources, request_timeout=connection.timeout_s
        )
    return {resource.name: future for resource, future in futures.items()}


def config_of(entries: dict[str, ConfigEntry]) -> dict[str, str]:
    """Names and values of a topic's settings."""
    return {name: entry.value or "" for name, entry in entries.items()}


def ask_offsets(
    connection: KafkaConnection, partitions: Iterable[TopicPartition], mark: Mark
) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
    """Asks where a mark lies in each partition."""
    spec = OffsetSpec.earliest() if mark is Mark.START else OffsetSpec.latest()
    stable = mark is not Mark.HIGH_WATERMARK
    wanted = {ConfluentPartition(at.topic, at.partition): spec for at in partitions}
    if not wanted:
        return {}
    with connection.translating():
        futures = connection.admin().list_offsets(
            wanted,
            isolation_level=_COMMITTED if stable else _UNCOMMITTED,
            request_timeout=connection.timeout_s,
        )
    return {TopicPartition(at.topic, at.partition): future for at, future in futures.items()}


def offsets(
    connection: KafkaConnection, partitions: Iterable[TopicPartition], mark: Mark
) -> dict[TopicPartition, int]:
    """Where a mark lies in each partition."""
    asked = list(partitions)

    def attempt() -> dict[TopicPartition, int]:
        return {
            at: connection.result(future, topic=at.topic, partition=at.partition).offset
            for at, future in ask_offsets(connection, asked, mark).items()
        }

    return connection.patiently(attempt)
