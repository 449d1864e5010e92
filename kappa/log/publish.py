"""Publishing records: idempotent, acknowledged by every in-sync replica, many at a time.

librdkafka batches, compresses and retries in its own threads; decision 0001 says why it
publishes while aiokafka fetches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypedDict

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as ConfluentProducer

from kappa.config import KafkaSettings
from kappa.errors import DeliveryFailed
from kappa.log.client import LastError, confluent_config
from kappa.log.translation import from_confluent

BATCH_BYTES = 1_000_000
"""Uncompressed bytes per record batch: just under the broker's default ``max.message.bytes``."""
_CHUNK_RECORDS = 10_000
_QUEUE_RECORDS = 200_000
_POLL_S = 0.2


class _Outgoing(TypedDict, total=False):
    value: bytes | None
    key: bytes | None
    _error: KafkaError


@dataclass(frozen=True, slots=True)
class Placed:
    """A record for a certain partition, with headers."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Producer:
    """Publishes to any number of topics. Use it as a context manager.

    Records of one key keep their order and land on the partition Java's default partitioner
    would choose. A record is delivered at most once by this producer, retries included.
    Leaving the ``with`` block flushes; leaving it by an exception drops what is still queued.

    Args:
        compression: none, gzip, snappy, lz4 or zstd.
        buffer_bytes: bound on what is queued; ``send`` blocks at it.
        delivery_timeout_s: how long a record may wait for its acknowledgement.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        compression: str = "lz4",
        buffer_bytes: int = 64 * 1024 * 1024,
        delivery_timeout_s: float = 60.0,
    ) -> None:
        self._timeout_s = kafka.default_api_timeout_ms / 1000
        self._last_error = LastError()
        self._known_topics: set[str] = set()
        self._queued = 0
        self._failed = 0
        self._reported = 0
        self._first_failure: KafkaError | None = None
        config: dict[str, object] = {
            **confluent_config(kafka),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": compression,
            "linger.ms": 20,
            "batch.size": BATCH_BYTES,
            "message.max.bytes": buffer_bytes,  # how large a record may be is the broker's say
            "queue.buffering.max.kbytes": max(1, buffer_bytes // 1024),
            "queue.buffering.max.messages": _QUEUE_RECORDS,
            "delivery.timeout.ms": round(delivery_timeout_s * 1000),
            # A call into Python per record would cost more than publishing it.
            "delivery.report.only.error": True,
            "on_delivery": self._not_delivered,
            "error_cb": self._last_error,
        }
        try:
            self._client = ConfluentProducer(config)
        except KafkaException as error:
            raise from_confluent(error) from error

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
    ) -> None:
        """Queues records in order; blocks while the queue is full.

        Raises:
            UnknownTopic: there is no such topic.
            BrokerUnavailable: no broker answered the first question about the topic.
            DeliveryFailed: these or earlier records were refused or not acknowledged in time.
        """
        if keys is not None and len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys for {len(values)} values")
        self._require(topic)
        for chunk in _chunks(values, keys):
            self._enqueue(topic, chunk)

    def send_placed(self, topic: str, records: Iterable[Placed]) -> None:
        """Queues records of certain partitions, one by one; else as ``send``."""
        self._require(topic)
        for record in records:
            while not self._placed(topic, record):
                self._client.poll(_POLL_S)
            self._client.poll(0)
            self._raise_failures()

    def flush(self) -> int:
        """Waits until every queued record is acknowledged.

        Returns:
            How many records this producer has delivered so far.

        Raises:
            DeliveryFailed: some were not; says how many. Raised once for each failure.
        """
        while self._client.flush(_POLL_S):
            pass  # in slices, so that Ctrl-C gets through
        self._raise_failures()
        return self._queued - self._failed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
            else:
                self._client.purge(in_queue=True, in_flight=True)
        finally:
            self._client.close()

    def _require(self, topic: str) -> None:
        """librdkafka would keep records for an unknown topic queued until they time out."""
        if topic in self._known_topics:
            return
        try:
            metadata = self._client.list_topics(topic, timeout=self._timeout_s)
        except KafkaException as error:
            self._client.poll(0)
            raise from_confluent(error, reason=self._last_error.reason, topic=topic) from error
        fault = metadata.topics[topic].error
        if fault is not None:
            raise from_confluent(fault, topic=topic)
        self._known_topics.add(topic)

    def _enqueue(self, topic: str, chunk: list[_Outgoing]) -> None:
        while chunk:
            accepted = self._client.produce_batch(topic, chunk)  # type: ignore[arg-type]
            self._queued += accepted
            self._client.poll(0)
            self._raise_failures()
            if accepted == len(chunk):
                return
            chunk = [record for record in chunk if "_error" in record]
            for record in chunk:
                fault = record.pop("_error")
                if fault.code() != KafkaError._QUEUE_FULL:
                    raise self._refused(fault, topic)
            # A full queue refuses a tail, never a record in the middle: order is kept.
            self._client.poll(_POLL_S)

    def _placed(self, topic: str, record: Placed) -> bool:
        """Whether there was room for the record."""
        try:
            self._client.produce(
                topic, record.value, record.key, record.partition, headers=list(record.headers)
            )
        except BufferError:
            return False
        except KafkaException as error:
            raise self._refused(error.args[0], topic) from error
        self._queued += 1
        return True

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        self._failed += 1
        self._first_failure = self._first_failure or error

    def _raise_failures(self) -> None:
        if self._failed == self._reported:
            return
        self._reported = self._failed
        fault = self._first_failure
        raise DeliveryFailed(
            f"{self._failed} of {self._queued} records were not acknowledged",
            failed=self._failed,
            delivered=self._queued - self._failed - len(self._client),
            pending=len(self._client) or None,
            reason=fault.str() if fault else None,
            connection=self._last_error.reason or None,
            hint="what was not acknowledged may still be in the log; compare before sending again",
        )

    def _refused(self, fault: KafkaError, topic: str) -> DeliveryFailed:
        return DeliveryFailed(
            f"a record was refused before it was sent: {fault.str()}",
            topic=topic,
            delivered=self._queued - self._failed - len(self._client),
            pending=len(self._client) or None,
        )


def _chunks(
    values: Sequence[bytes | None], keys: Sequence[bytes | None] | None
) -> Iterator[list[_Outgoing]]:
    for low in range(0, len(values), _CHUNK_RECORDS):
        part = values[low : low + _CHUNK_RECORDS]
        if keys is None:
            yield [{"value": value} for value in part]
        else:
            matching = keys[low : low + _CHUNK_RECORDS]
            yield [{"value": v, "key": k} for v, k in zip(part, matching, strict=True)]
