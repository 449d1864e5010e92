"""Fetching committed record batches of many partitions, ahead of who reads them.

One task per partition: wait for a free slot, fetch, scan, deliver. A partition may hold
``depth`` responses that nobody has taken yet; the plan chooses depth and size so that all
partitions together stay within the buffer limit, and none can take another's room.
"""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, TypeVar

import aiokafka.errors as aio
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from kappa.errors import KappaError, LogError, TopicRecreated
from kappa.log.batches import Scan, scan
from kappa.log.brokers import Brokers
from kappa.log.protocol import (
    READ_COMMITTED,
    FetchAnswer,
    FetchAsk,
    FetchById,
    FetchByName,
    fetch_answer,
)
from kappa.log.records import TopicPartition
from kappa.log.translation import corrupt, from_aiokafka, out_of_range

MAX_WAIT_MS = 500
"""How long the broker holds an empty response back, waiting for records."""
MIN_FETCH_BYTES = 64 * 1024
_MAX_DEPTH = 8
_LIKELY_RESPONSE_BYTES = 1024 * 1024  # the broker's default limit of one record batch
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_UNKNOWN_TOPIC_S = 2.0  # a new topic may take a moment to be known everywhere

_OUT_OF_RANGE = 1
_UNKNOWN_TOPIC = frozenset({3, 100, 103})  # by name, by id, a name and an id that do not agree
_ELSEWHERE = frozenset(
    {
        -1,  # UNKNOWN_SERVER_ERROR
        5,  # LEADER_NOT_AVAILABLE
        6,  # NOT_LEADER_OR_FOLLOWER
        7,  # REQUEST_TIMED_OUT
        8,  # BROKER_NOT_AVAILABLE
        9,  # REPLICA_NOT_AVAILABLE
        13,  # NETWORK_EXCEPTION
        56,  # KAFKA_STORAGE_ERROR
        74,  # FENCED_LEADER_EPOCH
        75,  # UNKNOWN_LEADER_EPOCH
        78,  # OFFSET_NOT_AVAILABLE
    }
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How much to ask for at once, and how many responses a partition may hold."""

    fetch_bytes: int
    depth: int

    @classmethod
    def within(cls, buffer_bytes: int, partitions: int, fetch_bytes: int) -> FetchPlan:
        """The plan whose responses together fit ``buffer_bytes``.

        The broker sends a record batch larger than the fetch size whole, so a partition may
        exceed its share by one batch.
        """
        share = buffer_bytes // max(partitions, 1)
        size = min(fetch_bytes, max(share, MIN_FETCH_BYTES))
        depth = share // max(size, _LIKELY_RESPONSE_BYTES)
        return cls(size, min(max(depth, 1), _MAX_DEPTH))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on without an answer, in seconds."""

    first_s: float
    """Before any broker has answered."""
    later_s: float
    """Once reading has begun: a restarting broker needs longer than a wrong address."""


@dataclass(slots=True)
class _Lane:
    """One partition's way through its range."""

    partition: TopicPartition
    position: int
    end: int | None
    slots: asyncio.Semaphore
    topic_id: bytes | None
    answered: bool = False

    @property
    def finished(self) -> bool:
        return self.end is not None and self.position >= self.end

    @property
    def where(self) -> dict[str, object]:
        at = self.partition
        return {"topic": at.topic, "partition": at.partition, "offset": self.position}


class Receiver(Protocol):
    """Who takes what was fetched; called from the event loop."""

    def deliver(self, partition: TopicPartition, scanned: Scan, stable_offset: int) -> None:
        """The next range of a partition, and where its last stable offset was."""

    def fail(self, partition: TopicPartition, error: KappaError) -> None:
        """Nothing more will come for this partition."""


class Fetcher:
    """Runs in one event loop until cancelled or every range is delivered."""

    def __init__(
        self,
        brokers: Brokers,
        ranges: Mapping[TopicPartition, tuple[int, int | None]],
        topic_ids: Mapping[str, str],
        plan: FetchPlan,
        patience: Patience,
        receiver: Receiver,
    ) -> None:
        self._brokers = brokers
        self._plan = plan
        self._patience = patience
        self._receiver = receiver
        self._lanes = {
            partition: _Lane(
                partition,
                start,
                end,
                asyncio.Semaphore(plan.depth),
                _uuid_bytes(topic_ids.get(partition.topic)),
            )
            for partition, (start, end) in ranges.items()
        }

    async def run(self) -> None:
        """Fetches every range to its end; forever if one has none."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(self._follow(lane))

    def taken(self, partition: TopicPartition, ranges: int) -> None:
        """Somebody took so many delivered ranges: there is room for as many more."""
        for _ in range(ranges):
            self._lanes[partition].slots.release()

    async def _follow(self, lane: _Lane) -> None:
        try:
            while not lane.finished:
                await lane.slots.acquire()
                scanned, stable_offset = await self._progress(lane)
                lane.position = scanned.next_offset
                self._receiver.deliver(lane.partition, scanned, stable_offset)
        except KappaError as error:
            self._receiver.fail(lane.partition, error)

    async def _progress(self, lane: _Lane) -> tuple[Scan, int]:
        """The next scan that moves the position; waits for as long as there is nothing new."""
        while True:
            answer = await self._patiently(lane, lambda: self._fetch(lane))
            scanned = scan(answer.records, lane.partition, lane.position, lane.end, answer.aborted)
            if scanned.next_offset > lane.position:
                return scanned, answer.last_stable_offset
            if answer.records:
                raise corrupt("the response holds no whole batch", **lane.where)

    async def _patiently(self, lane: _Lane, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeats an attempt while its failures may pass and patience lasts."""
        pause = _FIRST_PAUSE_S
        unknown_since: float | None = None
        limit = self._patience.later_s if lane.answered else self._patience.first_s
        deadline = monotonic() + limit
        while True:
            generation = self._brokers.generation
            try:
                async with asyncio.timeout(max(deadline - monotonic(), _LONGEST_PAUSE_S)):
                    return await attempt()
            except aio.UnknownTopicOrPartitionError as error:
                unknown_since = unknown_since or monotonic()
                if monotonic() - unknown_since > _UNKNOWN_TOPIC_S:
                    raise self._gone(lane, error) from error
            except (aio.KafkaError, OSError, TimeoutError) as error:
                if not _may_pass(error) or monotonic() > deadline:
                    raise from_aiokafka(error, **lane.where) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            await self._brokers.refresh(generation)

    async def _fetch(self, lane: _Lane) -> FetchAnswer:
        at = lane.partition
        ask = FetchAsk(at.topic, at.partition, lane.position, self._plan.fetch_bytes, MAX_WAIT_MS)
        request = FetchById(ask, lane.topic_id) if lane.topic_id else FetchByName(ask)
        answer = fetch_answer(await self._brokers.ask(at, request))
        code = answer.error_code
        if code in _UNKNOWN_TOPIC:
            raise aio.UnknownTopicOrPartitionError(str(at))
        if code in _ELSEWHERE:
            raise aio.NotLeaderForPartitionError(f"the broker answered error {code}")
        lane.answered = True
        if code == _OUT_OF_RANGE:
            raise out_of_range(**lane.where, **await self._bounds(lane))
        if code:
            raise from_aiokafka(aio.for_code(code)(), code=code, **lane.where)
        return answer

    async def _bounds(self, lane: _Lane) -> dict[str, int]:
        """Where the log begins and ends now, as far as the broker tells."""
        bounds: dict[str, int] = {}
        at = lane.partition
        for name, which in (
            ("log_start", OffsetResetStrategy.EARLIEST),
            ("log_end", OffsetResetStrategy.LATEST),
        ):
            request = OffsetRequest(-1, READ_COMMITTED, [(at.topic, [(at.partition, which)])])
            response = await self._brokers.ask(at, request)
            ((_, ((_, code, _, offset),)),) = response.topics
            if code == 0:
                bounds[name] = offset
        return bounds

    def _gone(self, lane: _Lane, error: Exception) -> KappaError:
        if lane.topic_id is not None and self._brokers.knows(lane.partition):
            return TopicRecreated(
                "the topic was deleted and created again: its offsets mean other records now",
                topic=lane.partition.topic,
                hint="rebuild from the new topic's offset zero",
            )
        return from_aiokafka(error, topic=lane.partition.topic, partition=lane.partition.partition)


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, aio.KafkaError) or bool(error.retriable)


def _uuid_bytes(topic_id: str | None) -> bytes | None:
    """Kafka writes a topic id as URL-safe base64 without padding."""
    if topic_id is None:
        return None
    try:
        return urlsafe_b64decode(topic_id + "==")
    except ValueError as error:
        raise LogError("this is no topic id", topic_id=topic_id) from error
