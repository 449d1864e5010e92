"""Batches of records that are published whole: in one transaction, or one after another.

Unlike ``publish``, which queues as much as it can, these wait until the broker has the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kappa.config import KafkaSettings
from kappa.errors import KappaError, LogError, ProducerFenced
from kappa.failpoints import reach
from kappa.log.client import LastError, confluent_config
from kappa.log.translation import from_confluent

TRANSACTION_MS = 10_000
"""How long a transaction may stay open: for so long one whose producer died holds back readers."""

_BY_KEY = -1
"""The partition that lets the partitioner choose."""

_SILENT = logging.getLogger("kappa.log.kafka")
"""librdkafka prints to stderr that it was fenced, whatever its log level."""
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish; ``partition`` None lets its key decide, as Java's clients do."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None


class BatchProducer:
    """Publishes batches; once one has failed the producer is of no use any more.

    Use it as a context manager. With a ``transactional_id`` each batch is a transaction, and
    another producer of that id, wherever it runs, fences this one off. Opening it ends the
    transaction of whoever came before, and waits until its outcome is known.

    Raises (when it is opened):
        BrokerUnavailable: no broker answered.
    """

    def __init__(self, kafka: KafkaSettings, transactional_id: str | None) -> None:
        self._timeout_s = kafka.request_timeout_ms / 1000
        self._last_error = LastError()
        self._failures: list[KafkaError] = []
        self._transactional = transactional_id is not None
        # A transaction with a record that failed does not commit, so nobody need report it.
        self._report = None if self._transactional else self._delivered
        config: dict[str, object] = {
            **confluent_config(kafka),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 0,
            "delivery.timeout.ms": TRANSACTION_MS,
            "message.max.bytes": 64 * 1024 * 1024,  # how large a record may be is the broker's say
            "error_cb": self._last_error,
        }
        if transactional_id is not None:
            config["transactional.id"] = transactional_id
            config["transaction.timeout.ms"] = TRANSACTION_MS
            config["socket.timeout.ms"] = min(kafka.request_timeout_ms, TRANSACTION_MS)
        self._config = config

    def __enter__(self) -> Self:
        try:
            self._client = Producer(self._config, logger=_SILENT)
            if self._transactional:
                self._client.init_transactions(self._timeout_s)
        except KafkaException as error:
            raise self._translated(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not flushed or aborted: what is open is ended by the next producer of this id.
        self._client.purge()
        del self._client

    def publish(self, batch: Iterable[Outgoing]) -> None:
        """Publishes a batch; returns once every in-sync replica has it.

        Raises:
            ProducerFenced: another producer with this transactional id has come, or the broker
                has ended a transaction that took too long.
            BrokerUnavailable, LogError: the batch may or may not be published.
        """
        try:
            if self._transactional:
                self._client.begin_transaction()
            for record in batch:
                self._send(record)
            if self._client.flush(self._timeout_s):
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            reach("relay_published")
            if self._transactional:
                self._client.commit_transaction(self._timeout_s)
            if self._failures:
                raise KafkaException(self._failures[0])
        except KafkaException as error:
            raise self._translated(error) from error
        except SystemError as error:  # a fatal error met the report of a delivery in the wrapper
            raise LogError(
                "the Kafka client failed in the middle of a batch",
                reason=self._last_error.reason or None,
                hint="a new producer can go on",
            ) from error

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            UnknownTopic, BrokerUnavailable
        """
        try:
            about = self._client.list_topics(topic, timeout=self._timeout_s).topics[topic]
            if about.error is not None:
                raise KafkaException(about.error)
        except KafkaException as error:
            raise self._translated(error, topic=topic) from error
        return len(about.partitions)

    def _send(self, record: Outgoing) -> None:
        partition = _BY_KEY if record.partition is None else record.partition
        while True:
            try:
                self._client.produce(
                    record.topic, record.value, record.key, partition, self._report
                )
            except BufferError:
                self._client.poll(0.1)
            else:
                self._client.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)

    def _translated(self, error: KafkaException, **detail: object) -> KappaError:
        fault = self._failures[0] if self._failures else error.args[0]
        if any(f.code() in _FENCED for f in (fault, error.args[0])):
            return ProducerFenced(
                "another producer with this transactional id has come, or a transaction of ours"
                " took too long",
                transactional_id=self._config.get("transactional.id"),
                hint="whoever is still in charge opens a new producer",
            )
        return from_confluent(fault, reason=self._last_error.reason, **detail)
