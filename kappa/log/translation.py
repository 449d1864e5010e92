"""The one edge where the Kafka clients' errors become kappa's.

Nothing outside this package sees a ``KafkaException`` of confluent-kafka or a ``KafkaError`` of
aiokafka; the original stays as ``__cause__``.
"""

from __future__ import annotations

import aiokafka.errors as aio
from confluent_kafka import KafkaError, KafkaException

from kappa.errors import (
    BrokerUnavailable,
    ConfigError,
    CorruptBatch,
    KappaError,
    LogError,
    OffsetOutOfRange,
    TopicExists,
    UnknownTopic,
)

_UNREACHABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError._NOENT,  # of an admin client that found no leader of a partition
    }
)
_UNKNOWN_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
_HOW_TO_REACH = "check that Kafka runs and that KAPPA_KAFKA__BOOTSTRAP_SERVERS names it"
_HOW_TO_AUTHENTICATE = "something answers there: check security_protocol, sasl_* and ssl_*"
_HOW_TO_SET = "see [kafka] in docs/configuration.md"
_HOW_TO_LIST = "'kappa topics list' shows the topics that exist"


def from_confluent(
    error: KafkaException | KafkaError, *, reason: str = "", **detail: object
) -> KappaError:
    """The kappa error for what confluent-kafka raised or returned.

    ``reason`` is what the client last reported about its connections: a timeout by itself does
    not say whether the name was wrong, the port closed or the password refused.
    """
    fault = error.args[0] if isinstance(error, KafkaException) else error
    if not isinstance(fault, KafkaError):
        return LogError(f"the Kafka client failed: {error}", hint="", **detail)
    code = fault.code()
    if code in _UNREACHABLE:
        return unavailable(reason=reason or fault.str(), **detail)
    if code in _UNKNOWN_TOPIC:
        return unknown_topic(**detail)
    if code == KafkaError.TOPIC_ALREADY_EXISTS:
        return TopicExists("the topic exists already", hint=_HOW_TO_LIST, **detail)
    if code == KafkaError.OFFSET_OUT_OF_RANGE:
        return out_of_range(**detail)
    if code == KafkaError._INVALID_ARG:
        return ConfigError(
            f"Kafka's client refuses its settings: {fault.str()}", hint=_HOW_TO_SET, **detail
        )
    return LogError(f"Kafka refused: {fault.str()}", hint="", code=fault.name(), **detail)


def from_aiokafka(error: Exception, **detail: object) -> KappaError:
    """The kappa error for what aiokafka raised, or for its class of a response's error code."""
    if isinstance(error, aio.UnknownTopicOrPartitionError):
        return unknown_topic(**detail)
    if isinstance(error, aio.OffsetOutOfRangeError):
        return out_of_range(**detail)
    if isinstance(error, aio.CorruptRecordException):
        return corrupt(str(error), **detail)
    if isinstance(error, aio.UnsupportedCodecError):
        return LogError(f"a record batch cannot be decompressed: {error}", hint="", **detail)
    if isinstance(error, OSError | TimeoutError) or getattr(error, "retriable", False):
        return unavailable(reason=str(error) or type(error).__name__, **detail)
    return LogError(f"Kafka refused: {error}", hint="", **detail)


def unavailable(*, reason: str = "", **detail: object) -> BrokerUnavailable:
    """The error for a broker that did not answer."""
    refused = any(word in reason for word in ("SASL", "SSL", "uthentication"))
    return BrokerUnavailable(
        "no Kafka broker answered",
        hint=_HOW_TO_AUTHENTICATE if refused else _HOW_TO_REACH,
        **detail,
        reason=reason or None,
    )


def unknown_topic(**detail: object) -> UnknownTopic:
    """The error for a topic, or a partition of it, that does not exist."""
    return UnknownTopic("the topic does not exist", hint=_HOW_TO_LIST, **detail)


def out_of_range(**detail: object) -> OffsetOutOfRange:
    """The error for a position the log does not hold, or no longer."""
    return OffsetOutOfRange(
        "the log does not hold this offset",
        hint="retention or delete-records removed it, or the topic was created again",
        **detail,
    )


def corrupt(reason: str, **detail: object) -> CorruptBatch:
    """The error for a record batch whose bytes contradict its checksum or its format."""
    return CorruptBatch(
        f"a record batch cannot be read: {reason}",
        hint="the bytes on the broker or on their way are damaged; read again, then check disks",
        **detail,
    )
