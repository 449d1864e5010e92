"""Writing to the schema topic, one writer at a time.

Ids are assigned by whoever writes, from what the topic holds. So that no two assign the same,
every writer takes the same transactional id:

    A  init ── read to the end ── assign 7 ── write ── fenced
    B            init ── read to the end ── assign 7 ── write ── commit
    A                                                    init ── read: 7 is taken ── assign 8 …

``init`` ends the transaction of whoever came before and waits until its outcome is in the topic,
so that what is read afterwards is all there will ever be from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from kappa.config import KafkaSettings
from kappa.errors import KappaError, RegistryUnavailable
from kappa.log.client import LastError, confluent_config
from kappa.log.translation import from_confluent

Decide = Callable[[], tuple[bytes, bytes] | None]
"""Reads the topic to its end and says what to write: key and value, or nothing."""

_TRANSACTION_MS = 10_000
_GIVE_UP_S = 30.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0

_SILENT = logging.getLogger("kappa.registry.kafka")
"""librdkafka prints to stderr that it was fenced, whatever its log level."""
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_OUTRUN = frozenset(
    {
        KafkaError._FENCED,
        KafkaError._STATE,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)


class _Outrun(Exception):
    """Another writer came in between, or the transaction was lost: begin again."""


def write(kafka: KafkaSettings, topic: str, decide: Decide) -> None:
    """Writes what ``decide`` says, with nobody writing between its reading and this.

    ``decide`` is asked again after another writer came in between, and after a commit whose
    outcome is not known: it must find its own record then, and return None.

    Raises:
        RegistryUnavailable: other writers kept coming in between.
        BrokerUnavailable, LogError
    """
    attempts = Retrying(
        retry=retry_if_exception_type(_Outrun),
        stop=stop_after_delay(_GIVE_UP_S),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
    )
    try:
        attempts(_attempt, kafka, topic, decide)
    except RetryError as error:
        raise RegistryUnavailable(
            "other writers kept coming in between",
            topic=topic,
            seconds=_GIVE_UP_S,
            hint="nothing was registered; try again",
        ) from error


def _attempt(kafka: KafkaSettings, topic: str, decide: Decide) -> None:
    last_error = LastError()
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    timeout_s = kafka.request_timeout_ms / 1000
    try:
        producer = Producer(_config(kafka, topic, last_error), logger=_SILENT)
        try:
            producer.init_transactions(timeout_s)
            record = decide()
            if record is not None:
                key, value = record
                producer.begin_transaction()
                producer.produce(topic, key=key, value=value, partition=0, on_delivery=delivered)
                producer.commit_transaction(timeout_s)
        except KafkaException:
            # Not closed: that would try to abort, which the next writer's init does anyway.
            producer.purge()
            raise
        else:
            producer.close()
        finally:
            del producer  # its threads end with it, not with the exception that knows this frame
    except KafkaException as error:
        raise _judged(failures[0] if failures else error.args[0], topic, last_error) from error


def _config(kafka: KafkaSettings, topic: str, last_error: LastError) -> dict[str, object]:
    return {
        **confluent_config(kafka),
        "transactional.id": f"kappa-registry-{topic}",
        "transaction.timeout.ms": _TRANSACTION_MS,
        "delivery.timeout.ms": _TRANSACTION_MS,
        "socket.timeout.ms": min(kafka.request_timeout_ms, _TRANSACTION_MS),
        "linger.ms": 0,
        "error_cb": last_error,
    }


def _judged(fault: KafkaError, topic: str, last_error: LastError) -> KappaError | _Outrun:
    if fault.code() in _OUTRUN or fault.txn_requires_abort():
        return _Outrun(fault.str())
    return from_confluent(fault, reason=last_error.reason, topic=topic)
