"""Publishing the orders, once."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from bench import orders
from bench.processors import TOPIC
from bench.servers import REGISTRY_TOPIC, kappa
from kappa.avro.encode import BatchEncoder
from kappa.avro.keys import key_bytes
from kappa.config import KafkaSettings
from kappa.errors import UnknownTopic
from kappa.log.history import topic_history
from kappa.log.publish import Producer
from kappa.registry.topic import TopicRegistry


def ensure(kafka: KafkaSettings, count: int) -> str:
    """The name of a topic that holds the first ``count`` orders; publishes them if need be."""
    topic = TOPIC if count == orders.COUNT else f"{TOPIC}_{count}"
    try:
        history = topic_history(kafka, topic)
    except UnknownTopic:
        _create(topic)
    else:
        present = sum(part.end - part.log_start for part in history.partitions)
        if present == count:
            return topic
        raise SystemExit(f"{topic} holds {present:,} records instead of {count:,}: delete it first")
    began = time.perf_counter()
    _publish(kafka, topic, count)
    seconds = time.perf_counter() - began
    print(f"published {count:,} orders, {count / seconds:,.0f}/s", file=sys.stderr)
    return topic


def _create(topic: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        schema = Path(directory) / "order.avsc"
        schema.write_text(json.dumps(orders.SCHEMA))
        partitions = str(orders.PARTITIONS)
        kappa(
            *("topics", "create", topic, "--schema", str(schema)),
            *("--key", orders.KEY, "--partitions", partitions),
        )


def _publish(kafka: KafkaSettings, topic: str, count: int) -> None:
    registered = TopicRegistry(kafka, REGISTRY_TOPIC).latest(f"{topic}-value")
    encoder = BatchEncoder(registered.schema, registered.schema_id)
    with Producer(kafka, compression="lz4") as producer:
        for chunk in orders.chunks(count):
            keys = key_bytes(chunk[orders.KEY]).to_list()
            producer.send(topic, encoder.encode(chunk), keys)
