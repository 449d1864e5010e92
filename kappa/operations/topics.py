"""The commands of ``kappa topics``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kappa.avro import schema as avro
from kappa.avro.keys import check_key_column
from kappa.avro.schema import AvroSchema
from kappa.config import Settings, require_kafka
from kappa.errors import ConfigError, TopicExists, UnknownSchema
from kappa.log import topics
from kappa.registry.topic import TopicRegistry, value_subject

DEFAULT_PARTITIONS = topics.DEFAULT_PARTITIONS


@dataclass(frozen=True)
class CreatedTopic:
    """A new topic and what was stored about it."""

    topic: str
    partitions: int
    compacted: bool
    subject: str | None
    """Where its schema was registered; None if none was given."""
    schema_version: int | None
    schema_id: int | None
    key: str | None
    """The column that is the record key; None if none was named."""


@dataclass(frozen=True)
class ListedTopic:
    """One topic in the list."""

    topic: str
    partitions: int
    offsets: int | None
    compacted: bool
    complete: bool | None


@dataclass(frozen=True)
class ShownPartition:
    """What one partition holds."""

    partition: int
    log_start: int
    log_end: int
    """The high watermark, exclusive: open transactions included."""
    last_stable_offset: int
    """Exclusive: everything before it is committed or aborted."""
    size_bytes: int | None
    leader: int | None
    complete: bool


@dataclass(frozen=True)
class ShownTopic:
    """One topic in full."""

    topic: str
    topic_id: str
    compacted: bool
    log_append_time: bool
    retention_ms: int
    retention_bytes: int
    replication_factor: int
    key: str | None
    derived_from: str | None
    """Whose output it holds; None of a topic that holds history."""
    schema_version: int | None
    schema_id: int | None
    complete: bool
    """Whether every partition begins at offset zero and nothing is compacted away."""
    partitions: tuple[ShownPartition, ...]


def create(
    settings: Settings,
    topic: str,
    *,
    partitions: int = DEFAULT_PARTITIONS,
    compact: bool = False,
    schema_file: Path | None = None,
    key: str | None = None,
    replication_factor: int | None = None,
) -> CreatedTopic:
    """Creates a topic, its schema and its key column, or nothing.

    Everything is checked first. The schema is registered before the topic is created: if that
    fails half-way, the same command can be run again.

    Raises:
        ConfigError: the schema's file cannot be read, or a key was named without a schema.
        InvalidSchema, IncompatibleSchema, SchemaError: the schema or the key will not do.
        InvalidTopicName, TopicExists, BrokerUnavailable
    """
    kafka = require_kafka(settings)
    topics.check_name(topic)
    registry = TopicRegistry(kafka, settings.registry.topic)
    schema = avro.parse(_read(schema_file)) if schema_file is not None else None
    if key is not None:
        check_key_column(schema or _registered(registry, topic), key)
    if topics.exists(kafka, topic):
        raise TopicExists("the topic exists already", topic=topic)
    registered = registry.register(value_subject(topic), schema) if schema is not None else None
    if key is not None:
        registry.set_topic_key(topic, key)
    topics.create_topic(
        kafka,
        topic,
        partitions=partitions,
        compact=compact,
        replication_factor=replication_factor,
    )
    return CreatedTopic(
        topic=topic,
        partitions=partitions,
        compacted=compact,
        subject=registered.subject if registered else None,
        schema_version=registered.version if registered else None,
        schema_id=registered.schema_id if registered else None,
        key=key,
    )


def list_all(settings: Settings) -> tuple[ListedTopic, ...]:
    """Every topic but Kafka's internal ones, by name."""
    return tuple(
        ListedTopic(
            topic=summary.topic,
            partitions=summary.partitions,
            offsets=summary.offsets,
            compacted=summary.compacted,
            complete=summary.complete,
        )
        for summary in topics.list_topics(require_kafka(settings))
    )


def show(settings: Settings, topic: str) -> ShownTopic:
    """One topic, partition by partition, with its key and newest schema.

    Raises:
        UnknownTopic, BrokerUnavailable
    """
    kafka = require_kafka(settings)
    detail = topics.show_topic(kafka, topic)
    registry = TopicRegistry(kafka, settings.registry.topic)
    try:
        newest = registry.latest(value_subject(topic))
    except UnknownSchema:
        newest = None
    history = detail.history
    return ShownTopic(
        topic=topic,
        topic_id=history.topic_id,
        compacted=history.compacted,
        log_append_time=history.log_append_time,
        retention_ms=detail.retention_ms,
        retention_bytes=detail.retention_bytes,
        replication_factor=detail.replication_factor,
        key=registry.topic_key(topic),
        derived_from=registry.derived_from(topic),
        schema_version=newest.version if newest else None,
        schema_id=newest.schema_id if newest else None,
        complete=not history.compacted and all(part.complete for part in history.partitions),
        partitions=tuple(
            ShownPartition(
                partition=part.history.partition,
                log_start=part.history.log_start,
                log_end=part.history.high_watermark,
                last_stable_offset=part.history.end,
                size_bytes=part.size_bytes,
                leader=part.leader,
                complete=part.history.complete,
            )
            for part in detail.partitions
        ),
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the schema cannot be read: {error}", file=str(file)) from error


def _registered(registry: TopicRegistry, topic: str) -> AvroSchema:
    """The schema to check a key against when none was given."""
    try:
        return registry.latest(value_subject(topic)).schema
    except UnknownSchema as error:
        raise ConfigError(
            "a key column needs a schema to be a column of",
            topic=topic,
            hint="add --schema FILE",
        ) from error
