"""Kafka requests in versions aiokafka does not know, built from its own parts.

Fetch 13 (Kafka 3.1) names topics by their id: the broker then refuses a topic that was deleted
and created again, which under its name would be read as if nothing had happened. DescribeLogDirs
tells how many bytes a partition takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

_FETCH = 1
_DESCRIBE_LOG_DIRS = 35
READ_COMMITTED = 1


class Uuid(AbstractType[bytes]):  # type: ignore[misc]
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class FetchResponse_v13(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = _FETCH
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("high_watermark", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(
                                ("producer_id", Int64),
                                ("first_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("preferred_read_replica", Int32),
                        ("records", CompactBytes),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class FetchRequest_v13(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = _FETCH
    API_VERSION = 13
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = FetchResponse_v13
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("partition_max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics_data",
            CompactArray(
                ("topic_id", Uuid), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


_NONE = -1  # "not known" for epochs, "a consumer" for the replica
_NO_SESSION = (0, -1)
_NO_TAGS: dict[int, bytes] = {}


class FetchByName(Request[FetchRequest_v11]):  # type: ignore[misc]
    """Fetches one partition of the topic that bears a name now."""

    API_KEY = _FETCH

    def __init__(self, ask: FetchAsk) -> None:
        self._ask = ask

    def build(self, request_struct_class: type[FetchRequest_v11]) -> FetchRequest_v11:
        ask = self._ask
        partition = (ask.partition, _NONE, ask.offset, _NONE, ask.max_bytes)
        return request_struct_class(*ask.head, *_NO_SESSION, [(ask.topic, [partition])], [], "")


class FetchById(Request[FetchRequest_v13]):  # type: ignore[misc]
    """Fetches one partition of the topic that has an id."""

    API_KEY = _FETCH

    def __init__(self, ask: FetchAsk, topic_id: bytes) -> None:
        self._ask = ask
        self._topic_id = topic_id

    def build(self, request_struct_class: type[FetchRequest_v13]) -> FetchRequest_v13:
        ask = self._ask
        partition = (ask.partition, _NONE, ask.offset, _NONE, _NONE, ask.max_bytes, _NO_TAGS)
        return request_struct_class(
            *ask.head, *_NO_SESSION, [(self._topic_id, [partition], _NO_TAGS)], [], "", _NO_TAGS
        )


@dataclass(frozen=True, slots=True)
class FetchAsk:
    """What to fetch: committed bytes of one partition from one offset."""

    topic: str
    partition: int
    offset: int
    max_bytes: int
    max_wait_ms: int

    @property
    def head(self) -> tuple[int, int, int, int, int]:
        return (_NONE, self.max_wait_ms, 1, self.max_bytes, READ_COMMITTED)


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """One partition's part of a fetch response."""

    error_code: int
    last_stable_offset: int
    log_start_offset: int
    aborted: tuple[tuple[int, int], ...]
    """(producer id, first offset) of each aborted transaction in the range."""
    records: bytes


def fetch_answer(response: Any) -> FetchAnswer:
    """The only partition of a response to either fetch request."""
    if response.error_code:
        return FetchAnswer(response.error_code, -1, -1, (), b"")
    ((_, partitions, *_),) = response.topics
    ((_, error_code, _, stable, start, aborted, _, records, *_),) = partitions
    return FetchAnswer(
        error_code=error_code,
        last_stable_offset=stable,
        log_start_offset=start,
        aborted=tuple((entry[0], entry[1]) for entry in aborted or ()),
        records=records or b"",
    )


class DescribeLogDirsResponse_v1(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = _DESCRIBE_LOG_DIRS
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "log_dirs",
            Array(
                ("error_code", Int16),
                ("log_dir", String("utf-8")),
                (
                    "topics",
                    Array(
                        ("topic", String("utf-8")),
                        (
                            "partitions",
                            Array(
                                ("partition", Int32),
                                ("size", Int64),
                                ("offset_lag", Int64),
                                ("is_future", Boolean),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


class DescribeLogDirsRequest_v1(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = _DESCRIBE_LOG_DIRS
    API_VERSION = 1
    RESPONSE_TYPE = DescribeLogDirsResponse_v1
    SCHEMA = Schema(
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
    )


class DescribeLogDirs(Request[DescribeLogDirsRequest_v1]):  # type: ignore[misc]
    """Asks one broker how many bytes its replicas of a topic's partitions take."""

    API_KEY = _DESCRIBE_LOG_DIRS

    def __init__(self, topic: str, partitions: list[int]) -> None:
        self._topics = [(topic, partitions)]

    def build(
        self, request_struct_class: type[DescribeLogDirsRequest_v1]
    ) -> DescribeLogDirsRequest_v1:
        return request_struct_class(self._topics)
