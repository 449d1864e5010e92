"""How far something has come, kept in a compacted topic by a key.

A position is published in the transaction whose work it stands for, so that both count or
neither does.
"""

from __future__ import annotations

import time

from confluent_kafka.admin import NewTopic

from kappa.config import KafkaSettings
from kappa.errors import BrokerUnavailable, TopicExists, UnknownTopic
from kappa.log.client import KafkaConnection
from kappa.log.history import Mark, describe, offsets
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from kappa.log.topics import exists

_POLL_S = 0.02
_SETTINGS = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    # Read whole by whoever starts, so it is kept short.
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
}


def ensure_exists(kafka: KafkaSettings, topic: str) -> None:
    """Creates the topic of positions, of one partition, if there is none.

    Raises:
        BrokerUnavailable: nobody could say.
    """
    if exists(kafka, topic):
        return
    new = NewTopic(topic, 1, -1, config=_SETTINGS)
    with KafkaConnection(kafka) as connection:
        with connection.translating(topic=topic):
            futures = connection.admin().create_topics([new], request_timeout=connection.timeout_s)
        try:
            connection.results(futures, topic=topic)
        except TopicExists:
            return


def read_last(kafka: KafkaSettings, topic: str, key: bytes, patience_s: float) -> bytes | None:
    """The committed value of a key, up to what the topic holds now; None where there is none.

    Waits until all transactions that are open now have ended: those of others hold back what
    lies behind them, perhaps our own last position.

    Raises:
        BrokerUnavailable: one of them did not end within ``patience_s`` seconds.
    """
    at = TopicPartition(topic, 0)
    with KafkaConnection(kafka) as connection:
        topic_id = _topic_id(connection, topic)
        end = offsets(connection, [at], Mark.HIGH_WATERMARK)[at]
        deadline = time.monotonic() + patience_s
        while offsets(connection, [at], Mark.STABLE_END)[at] < end:
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    "a transaction on the topic of positions does not end",
                    topic=topic,
                    hint="the broker ends it when its timeout has passed",
                )
            time.sleep(_POLL_S)
        start = offsets(connection, [at], Mark.START)[at]
    found: bytes | None = None
    span = {at: (start, end)}
    with LogReader(kafka, span, topic_ids={topic: topic_id}, with_keys=True) as reader:
        while (batch := reader.next(at)) is not None:
            for own, value in zip(batch.keys, batch.values, strict=True):
                if own == key:
                    found = value
    return found


def _topic_id(connection: KafkaConnection, topic: str) -> str:
    """Of a topic that may have been made a moment ago."""
    deadline = time.monotonic() + connection.timeout_s
    while True:
        try:
            return str(describe(connection, topic).topic_id)
        except UnknownTopic:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
