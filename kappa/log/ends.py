"""Where the partitions of a topic end, looked up again and again beside whoever reads them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from kappa.config import KafkaSettings
from kappa.errors import KappaError
from kappa.log.client import KafkaConnection
from kappa.log.history import Mark, describe, offsets
from kappa.log.records import TopicPartition

EVERY_S = 1.0
_DESCRIBE_EVERY = 5
"""Partitions are counted in every so many rounds."""
_END_S = 1.0
"""A question that a silent broker does not answer is not waited for: nothing depends on it."""


@dataclass(frozen=True)
class Ends:
    """The last stable offset of every partition, exclusive, when the broker was last asked."""

    by_partition: Mapping[int, int] = field(default_factory=dict)
    error: KappaError | None = None
    """Why the broker did not answer, if it did not."""


class EndsWatch:
    """A thread that asks the broker every second, with a client of its own.

    It notices records that a reader does not: what it shows is where the log is, not how far
    anybody has come. A context manager.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.latest = Ends()
        self._kafka = kafka
        self._topic = topic
        self._stop = threading.Event()
        self._asked = threading.Condition()
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, name="kappa-ends", daemon=True)
        self._thread.start()

    def first(self, timeout_s: float) -> Ends:
        """The latest answer, once there is one or ``timeout_s`` has passed."""
        with self._asked:
            self._asked.wait_for(lambda: self._rounds > 0, timeout_s)
        return self.latest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(KappaError), KafkaConnection(self._kafka) as connection:
                self._ask(connection)
            self._stop.wait(EVERY_S)

    def _ask(self, connection: KafkaConnection) -> None:
        """Goes on until the broker does not answer, which asks for a new connection."""
        numbers: list[int] = []
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if self._rounds % _DESCRIBE_EVERY == 0 or not numbers:
                    described = describe(connection, self._topic)
                    numbers = sorted(info.id for info in described.partitions)
                found = offsets(
                    connection,
                    [TopicPartition(self._topic, number) for number in numbers],
                    Mark.STABLE_END,
                )
            except KappaError as error:
                self._tell(Ends(self.latest.by_partition, error))
                raise
            self._tell(Ends({at.partition: offset for at, offset in found.items()}))
            self._stop.wait(max(EVERY_S - (time.monotonic() - began), 0))

    def _tell(self, ends: Ends) -> None:
        with self._asked:
            self.latest = ends
            self._rounds += 1
            self._asked.notify_all()
