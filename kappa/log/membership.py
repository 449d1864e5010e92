"""Who reads which partition: a Kafka consumer group that hands out partitions and fetches none.

librdkafka joins the group, sends heartbeats from a thread of its own and takes part in
cooperative rebalances (KIP-429); every partition is paused at once, and ``LogReader`` reads it.
The group only shares the work out. What keeps two members from working on one partition is the
fence in PostgreSQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as ConfluentPartition

from kappa.config import KafkaSettings
from kappa.errors import KappaError
from kappa.failpoints import reach
from kappa.log.client import LastError, confluent_config
from kappa.log.translation import from_confluent

SESSION_TIMEOUT_MS = 6_000
"""A member that is silent for so long loses its partitions; the least a broker allows."""
RELEASE_S = 8.0
"""How long a rebalance waits for a partition to be given up, so that its last batch counts."""
_HEARTBEAT_MS = 1_500
_METADATA_MS = 5_000
_POLL_S = 0.1
_CLOSE_S = 3.0
"""A broker that does not hear of the leaving learns of it by the session timeout."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a member holds since the last change. ``number`` differs after every change."""

    number: int
    partitions: frozenset[int]


class Membership:
    """A member of the group that reads ``topic``. A context manager; leaving it leaves the group.

    Whoever works on the partitions takes what is held, works while that stands, then calls
    ``released``: a rebalance waits for that, but not longer than RELEASE_S.
    """

    def __init__(self, kafka: KafkaSettings, group: str, topic: str) -> None:
        self._topic = topic
        self._last_error = LastError()
        self._changed = threading.Condition()
        self._held: frozenset[int] = frozenset()
        self._number = 0
        self._released = 0
        self._closing = False
        self._joined = False
        self._fault: KappaError | None = None
        self._advice: dict[int, int] = {}
        config: dict[str, object] = {
            **confluent_config(kafka),
            "error_cb": self._last_error,
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": _HEARTBEAT_MS,
            "topic.metadata.refresh.interval.ms": _METADATA_MS,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 64,
            "allow.auto.create.topics": False,
        }
        try:
            self._consumer = Consumer(config)
            self._consumer.subscribe(
                [topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise from_confluent(error, group=group) from error
        self._thread = threading.Thread(target=self._serve, name="kappa-group", daemon=True)
        self._thread.start()

    def take(self) -> Holding:
        """What is held now. Whoever takes it works on nothing that was held before.

        Raises:
            KappaError: the group cannot be joined, for a reason that will not pass.
        """
        with self._changed:
            if self._fault is not None:
                raise self._fault
            self._released = max(self._released, self._number - 1)
            self._changed.notify_all()
            return Holding(self._number, self._held)

    def stands(self, holding: Holding) -> bool:
        """Whether nothing has changed since."""
        return self._number == holding.number

    def wait(self, holding: Holding, timeout_s: float) -> None:
        """Waits until something has changed since, or for so long."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._number != holding.number or self._fault is not None, timeout_s
            )

    def released(self, holding: Holding) -> None:
        """Nobody works on this holding any longer."""
        with self._changed:
            self._released = max(self._released, holding.number)
            self._changed.notify_all()

    def advise(self, positions: Mapping[int, int]) -> None:
        """Positions to commit to Kafka, for tools that show a group's lag; nothing reads them."""
        with self._changed:
            self._advice = dict(positions)

    @property
    def partitions(self) -> frozenset[int]:
        """What is held just now."""
        return self._held

    @property
    def joined(self) -> bool:
        """Whether the group has given us an assignment yet, if only an empty one."""
        return self._joined

    def close(self) -> None:
        """Leaves the group."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        """The thread: every callback of the group runs in its poll."""
        try:
            while not self._closing:
                message = self._consumer.poll(_POLL_S)
                if message is not None:
                    self._look_at(message)
                self._commit_advice()
        except KafkaException as error:
            self._fail(from_confluent(error, reason=self._last_error.reason, topic=self._topic))
        finally:
            self._consumer.close()

    def _look_at(self, message: Message) -> None:
        """A message that was on its way before the pause is nobody's; an error may be fatal."""
        fault = message.error()
        if fault is not None and (fault.fatal() or fault.code() in _LASTING):
            self._fail(from_confluent(fault, reason=self._last_error.reason, topic=self._topic))

    def _fail(self, error: KappaError) -> None:
        with self._changed:
            self._fault = error
            self._changed.notify_all()

    def _commit_advice(self) -> None:
        with self._changed:
            advice, self._advice = self._advice, {}
            held = self._held
        offsets = [
            ConfluentPartition(self._topic, number, offset)
            for number, offset in advice.items()
            if number in held
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _on_assign(self, consumer: Consumer, added: list[ConfluentPartition]) -> None:
        at_end = [ConfluentPartition(part.topic, part.partition, OFFSET_END) for part in added]
        consumer.incremental_assign(at_end)
        if at_end:
            consumer.pause(at_end)
        with self._changed:
            self._joined = True
            self._change(self._held | _numbers(added))

    def _on_revoke(self, consumer: Consumer, gone: list[ConfluentPartition]) -> None:
        """Waits until what was folded of these partitions is committed, or given up."""
        reach("revoked")
        with self._changed:
            before = self._number
            self._change(self._held - _numbers(gone))
            deadline = time.monotonic() + RELEASE_S
            while self._released < before and not self._closing:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        consumer.incremental_unassign(gone)

    def _on_lost(self, consumer: Consumer, gone: list[ConfluentPartition]) -> None:
        """They are another member's already: nothing to wait for, the fence holds."""
        with self._changed:
            self._change(self._held - _numbers(gone))
        consumer.incremental_unassign(gone)

    def _change(self, held: frozenset[int]) -> None:
        self._held = held
        self._number += 1
        self._changed.notify_all()


_LASTING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
"""What does not pass by waiting."""


def _numbers(partitions: Collection[ConfluentPartition]) -> frozenset[int]:
    return frozenset(part.partition for part in partitions)
