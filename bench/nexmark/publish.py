"""Creating the three topics, and publishing the events to them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.nexmark.config import Config
from bench.nexmark.generator import blocks
from bench.nexmark.schemas import KINDS, Kind
from kappa.avro.encode import BatchEncoder
from kappa.avro.keys import key_bytes
from kappa.config import Settings, require_kafka
from kappa.log.publish import Producer
from kappa.operations import topics
from kappa.registry.topic import TopicRegistry, value_subject

PARTITIONS = 4


def create(settings: Settings, prefix: str) -> None:
    """Makes the topics, with their schemas and keys.

    Raises:
        TopicExists: one of them is there already.
    """
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as directory:
            schema = Path(directory) / f"{kind.name}.avsc"
            schema.write_text(json.dumps(kind.schema))
            topics.create(
                settings,
                topic_of(prefix, kind),
                partitions=PARTITIONS,
                schema_file=schema,
                key=kind.key,
            )


def publish(settings: Settings, prefix: str, count: int, config: Config) -> None:
    """Publishes the first ``count`` events, each kind in the order of the stream."""
    kafka = require_kafka(settings)
    registry = TopicRegistry(kafka, settings.registry.topic)
    found = {kind: registry.latest(value_subject(topic_of(prefix, kind))) for kind in KINDS}
    encoders = {kind: BatchEncoder(r.schema, r.schema_id) for kind, r in found.items()}
    with Producer(kafka) as producer:
        for events in blocks(count, config):
            for kind, encoder in encoders.items():
                frame = events.of(kind)
                keys = key_bytes(frame[kind.key]).to_list()
                producer.send(topic_of(prefix, kind), encoder.encode(frame), keys)


def topic_of(prefix: str, kind: Kind) -> str:
    """What the topic of these events is called."""
    return f"{prefix}_{kind.name}"
