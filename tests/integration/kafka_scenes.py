"""Topics with a history to read: what tests put into a real Kafka, and how they read it back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from kappa.config import KafkaSettings
from kappa.log.client import confluent_config
from kappa.log.history import topic_history
from kappa.log.reader import LogReader
from kappa.log.records import RawBatch, TopicPartition

Record = tuple[int, int, bytes | None, bytes | None]
"""Partition, offset, key, value."""


def admin(kafka: KafkaSettings) -> AdminClient:
    return AdminClient(confluent_config(kafka))


def make_topic(kafka: KafkaSettings, topic: str, partitions: int = 1, **config: str) -> str:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    new = NewTopic(topic, partitions, 1, config=settings)
    client = admin(kafka)  # its futures fail if it is collected before them
    client.create_topics([new])[topic].result(20)
    return topic


def alter_topic(kafka: KafkaSettings, topic: str, **config: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    client = admin(kafka)
    client.incremental_alter_configs([resource])[resource].result(20)


def producer(kafka: KafkaSettings, **config: object) -> Producer:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({**confluent_config(kafka), **settings})


def fill(
    kafka: KafkaSettings,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None]],
    *,
    partition: int = 0,
    **config: object,
) -> None:
    """Publishes (key, value) pairs in order to one partition."""
    client = producer(kafka, **config)
    for key, value in records:
        client.produce(topic, value, key, partition)
    assert client.flush(30) == 0


def read(
    kafka: KafkaSettings,
    ranges: dict[TopicPartition, tuple[int, int]],
    **options: object,
) -> list[Record]:
    """Every record of the ranges through a LogReader; checks that they are covered exactly."""
    found: list[Record] = []
    with LogReader(kafka, ranges, **options) as reader:  # type: ignore[arg-type]
        for partition, (start, end) in ranges.items():
            position = start
            while (batch := reader.next(partition, 30)) is not None:
                assert batch.start_offset == position
                assert batch.next_offset > position
                position = batch.next_offset
                found.extend(rows(batch))
            assert position == max(start, end)
            assert reader.position(partition) == position
    return found


def rows(batch: RawBatch) -> list[Record]:
    assert len(batch.offsets) == len(batch.timestamps) == len(batch.values)
    keys = batch.keys or [None] * len(batch)
    return [
        (batch.partition, int(offset), key, value)
        for offset, key, value in zip(batch.offsets, keys, batch.values, strict=True)
    ]


def whole(kafka: KafkaSettings, topic: str) -> dict[TopicPartition, tuple[int, int]]:
    """Every partition from its first offset to its last stable one."""
    history = topic_history(kafka, topic)
    return {
        TopicPartition(topic, part.partition): (part.log_start, part.end)
        for part in history.partitions
    }


def consume(kafka: KafkaSettings, ranges: dict[TopicPartition, tuple[int, int]]) -> list[Record]:
    """The same ranges through confluent-kafka's read_committed consumer, the reference."""
    config = {
        **confluent_config(kafka),
        "group.id": "kappa-tests",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
    }
    found: list[Record] = []
    with Consumer(config) as consumer:
        consumer.assign(
            [ConfluentPartition(at.topic, at.partition, start) for at, (start, _) in ranges.items()]
        )
        at_end = 0
        while at_end < len(ranges):
            message = consumer.poll(10)
            assert message is not None
            if message.error() is not None:
                at_end += 1
                continue
            row = (message.partition(), message.offset(), message.key(), message.value())
            found.append(row)  # type: ignore[arg-type]
    ends = {at.partition: end for at, (_, end) in ranges.items()}
    return sorted((r for r in found if r[1] < ends[r[0]]), key=lambda r: r[:2])


@dataclass
class Transactions:
    """Transactional producers whose transactions interleave, and what they committed."""

    kafka: KafkaSettings
    topic: str
    partitions: int
    dice: random.Random
    committed: list[Record] = field(default_factory=list)

    def interleave(
        self, producers: int, transactions: int, abort_rate: float, **config: object
    ) -> None:
        """Runs the producers in turn, a few records at a time, until each has had its share."""
        actors = [_Actor(self, f"{self.topic}-{n}", config) for n in range(producers)]
        left = [transactions] * producers
        while any(left):
            index = self.dice.choice([n for n, count in enumerate(left) if count])
            if actors[index].step(abort_rate):
                left[index] -= 1


class _Actor:
    def __init__(self, scene: Transactions, name: str, config: dict[str, object]) -> None:
        self._scene = scene
        self._client = producer(scene.kafka, transactional_id=name, linger_ms=0, **config)
        self._client.init_transactions(20)
        self._open: list[Record] | None = None
        self._name = name
        self._sent = 0

    def step(self, abort_rate: float) -> bool:
        """Sends some records, or ends the transaction; True if it ended one."""
        dice = self._scene.dice
        if self._open is None:
            self._client.begin_transaction()
            self._open = []
        elif dice.random() < 0.4:
            if dice.random() < abort_rate:
                self._client.abort_transaction(20)
            else:
                self._client.commit_transaction(20)
                self._scene.committed.extend(self._open)
            self._open = None
            return True
        for _ in range(dice.randint(1, 12)):
            self._sent += 1
            value = f"{self._name}:{self._sent}:".encode() + b"x" * dice.randint(0, 200)
            partition = dice.randrange(self._scene.partitions)
            self._client.produce(
                self._scene.topic, value, b"k%d" % self._sent, partition, self._delivered
            )
        assert self._client.flush(20) == 0
        return False

    def _delivered(self, error: object, message: Message) -> None:
        assert error is None
        assert self._open is not None
        row = (message.partition(), message.offset(), message.key(), message.value())
        self._open.append(row)  # type: ignore[arg-type]
