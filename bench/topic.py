"""Publishing a stream, once."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import polars as pl
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from bench.servers import REGISTRY_TOPIC, kappa
from bench.stream import PARTITIONS, Stream
from kappa.avro.encode import BatchEncoder
from kappa.avro.keys import key_bytes
from kappa.config import KafkaSettings
from kappa.errors import UnknownTopic
from kappa.log.client import confluent_config
from kappa.log.history import topic_history
from kappa.registry.topic import TopicRegistry, value_subject

_QUEUE_RECORDS = 500_000
_POLL_S = 0.1
_TIMEOUT_S = 60


def ensure(kafka: KafkaSettings, stream: Stream, count: int) -> None:
    """Makes the topic of the first ``count`` records, unless it is there."""
    topic = stream.topic(count)
    present = held(kafka, topic)
    if present is None:
        create(kafka, stream, count)
    elif present != count:
        raise SystemExit(f"{topic} holds {present:,} records instead of {count:,}: delete it first")


def held(kafka: KafkaSettings, topic: str) -> int | None:
    """How many records the topic holds; None where there is no such topic."""
    try:
        history = topic_history(kafka, topic)
    except UnknownTopic:
        return None
    return sum(part.end - part.log_start for part in history.partitions)


def create(kafka: KafkaSettings, stream: Stream, count: int) -> None:
    """Makes the topic of the first ``count`` records and publishes them."""
    topic = stream.topic(count)
    with tempfile.TemporaryDirectory() as directory:
        schema = Path(directory) / "stream.avsc"
        schema.write_text(json.dumps(stream.schema))
        kappa(
            *("topics", "create", topic, "--schema", str(schema)),
            *("--key", stream.key, "--partitions", str(PARTITIONS)),
        )
    if stream.stamped_by is not None:
        _take_timestamps(kafka, topic)
    began = time.perf_counter()
    publish(kafka, stream, topic, stream.chunks(count))
    rate = count / (time.perf_counter() - began)
    if (present := held(kafka, topic)) != count:
        raise SystemExit(f"only {present:,} of {count:,} records arrived in {topic}: delete it")
    print(f"published {count:,} records to {topic}, {rate:,.0f}/s", file=sys.stderr)


def renew(kafka: KafkaSettings, stream: Stream) -> None:
    """Makes the stream's topic without records, whatever it held."""
    if held(kafka, stream.name) is not None:
        delete(kafka, stream.name)
    create(kafka, stream, 0)


def delete(kafka: KafkaSettings, topic: str) -> None:
    """Deletes the topic and waits until it is gone."""
    config: Any = confluent_config(kafka)
    admin = AdminClient(config)  # it must outlive what it was asked
    admin.delete_topics([topic])[topic].result(_TIMEOUT_S)
    deadline = time.monotonic() + _TIMEOUT_S
    while held(kafka, topic) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic} is still there")
        time.sleep(_POLL_S)


def _take_timestamps(kafka: KafkaSettings, topic: str) -> None:
    """Has the topic keep the timestamps its records come with, not the time they arrive."""
    kept = ConfigEntry(
        "message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[kept])
    config: Any = confluent_config(kafka)
    admin = AdminClient(config)
    admin.incremental_alter_configs([resource])[resource].result(_TIMEOUT_S)


def publish(
    kafka: KafkaSettings, stream: Stream, topic: str, chunks: Iterator[pl.DataFrame]
) -> None:
    """Publishes records, each with its key and, where the stream says so, its own timestamp."""
    registered = TopicRegistry(kafka, REGISTRY_TOPIC).latest(value_subject(topic))
    encoder = BatchEncoder(registered.schema, registered.schema_id)
    producer = Producer(
        {
            **confluent_config(kafka),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": _QUEUE_RECORDS,
        }
    )
    for chunk in chunks:
        keys = key_bytes(chunk[stream.key]).to_list()
        times: Iterable[int] = repeat(0)  # the time of publishing
        if stream.stamped_by is not None:
            times = chunk[stream.stamped_by].dt.epoch("ms").to_list()
        for value, key, time_ms in zip(encoder.encode(chunk), keys, times, strict=False):
            _send(producer, topic, value, key, time_ms)
        producer.poll(0)
    if producer.flush(_TIMEOUT_S):
        raise TimeoutError(f"{len(producer):,} records for {topic} were not acknowledged")


def _send(producer: Producer, topic: str, value: bytes, key: bytes, time_ms: int) -> None:
    """Queues a record; waits while the queue is full."""
    while True:
        try:
            producer.produce(topic, value, key, timestamp=time_ms)
        except BufferError:
            producer.poll(_POLL_S)
        else:
            return
