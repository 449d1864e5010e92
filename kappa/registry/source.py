"""Reading the schema topic: from where one stopped to its last stable offset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kappa.config import KafkaSettings
from kappa.errors import (
    BrokerUnavailable,
    LogError,
    RegistryUnavailable,
    TopicExists,
    UnknownTopic,
)
from kappa.log.client import KafkaConnection
from kappa.log.history import Mark, ask_offsets, describe, topic_config
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from kappa.log.topics import create_topic
from kappa.registry.records import Record, interpret

_BUFFER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class News:
    """What the topic holds behind the position it was asked for."""

    topic_id: str
    position: int
    """Exclusive: where to go on next time."""
    fresh: bool
    """Whether ``records`` begin at the topic's start: forget what was known before."""
    records: tuple[Record, ...]


def read(kafka: KafkaSettings, topic: str, topic_id: str, position: int) -> News:
    """Reads committed records from ``position`` of the topic with ``topic_id``.

    A topic that does not exist is an empty one. One that was created again since, or that lost
    records, is read from its start.

    Raises:
        BrokerUnavailable, RegistryUnavailable
    """
    with registry_errors(topic):
        at = TopicPartition(topic, 0)
        with KafkaConnection(kafka) as connection:
            try:
                description = describe(connection, topic)
            except UnknownTopic:
                return News("", 0, True, ())
            if len(description.partitions) != 1:
                raise RegistryUnavailable(
                    "the schema topic must have one partition",
                    topic=topic,
                    partitions=len(description.partitions),
                    hint="name another with KAPPA_REGISTRY__TOPIC; kappa creates it",
                )
            start = _offset(connection, at, Mark.START)
            end = _offset(connection, at, Mark.STABLE_END)
        found = str(description.topic_id)
        fresh = found != topic_id or not start <= position <= end
        if fresh:
            position = start
        records = tuple(_records(kafka, at, found, position, end)) if position < end else ()
        return News(found, end, fresh, records)


def ensure_exists(kafka: KafkaSettings, topic: str) -> None:
    """Creates the topic if there is none; refuses one that would lose schemas.

    Raises:
        BrokerUnavailable, RegistryUnavailable
    """
    with registry_errors(topic):
        with KafkaConnection(kafka) as connection:
            try:
                cleanup = topic_config(connection, topic)["cleanup.policy"]
            except UnknownTopic:
                cleanup = ""
        if not cleanup:
            try:
                create_topic(kafka, topic, partitions=1, compact=True)
            except TopicExists:
                return  # somebody else's first registration
        elif cleanup != "compact":
            raise RegistryUnavailable(
                "the schema topic would lose schemas: its cleanup.policy must be 'compact'",
                topic=topic,
                cleanup_policy=cleanup,
                hint=f"kafka-configs.sh --alter --entity-type topics --entity-name {topic}"
                " --add-config cleanup.policy=compact",
            )


@contextmanager
def registry_errors(topic: str) -> Iterator[None]:
    """Turns what else may go wrong with the topic into RegistryUnavailable."""
    try:
        yield
    except BrokerUnavailable:
        raise
    except LogError as error:
        raise RegistryUnavailable(
            f"the schema topic cannot be used: {error.message}",
            hint=error.hint,
            **{"topic": topic, **error.detail},
        ) from error


def _records(
    kafka: KafkaSettings, at: TopicPartition, topic_id: str, start: int, end: int
) -> Iterator[Record]:
    patience_s = kafka.default_api_timeout_ms / 1000
    with LogReader(
        kafka,
        {at: (start, end)},
        topic_ids={at.topic: topic_id},
        buffer_bytes=_BUFFER_BYTES,
        patience_s=patience_s,
    ) as reader:
        while (batch := reader.next(at)) is not None:
            for key, value in zip(batch.keys, batch.values, strict=True):
                record = interpret(key, value)
                if record is not None:
                    yield record


def _offset(connection: KafkaConnection, at: TopicPartition, mark: Mark) -> int:
    future = ask_offsets(connection, [at], mark)[at]
    return connection.result(future, topic=at.topic, partition=at.partition).offset
