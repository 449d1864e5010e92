"""The log for callers without an event loop: a thread fetches, the caller's thread decodes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Self

from kappa.config import KafkaSettings
from kappa.errors import KappaError, LogError
from kappa.log.batches import Scan
from kappa.log.brokers import Brokers
from kappa.log.client import aiokafka_arguments
from kappa.log.extract import extract
from kappa.log.fetch import Fetcher, FetchPlan, Patience
from kappa.log.records import RawBatch, TopicPartition

FETCH_BYTES = 4 * 1024 * 1024
BUFFER_BYTES = 64 * 1024 * 1024
PATIENCE_S = 60.0
TOGETHER_BYTES = 256 * 1024
"""Responses that wait are handed out as one up to this size: those of a live topic hold a few
records each, and what is done with a batch costs the same for a few as for a thousand."""
_CLOSE_S = 8.0


@dataclass(slots=True)
class _Shelf:
    """What was fetched of one partition and not taken yet."""

    position: int
    end: int | None
    scans: deque[Scan] = field(default_factory=deque)
    pieces: Iterator[RawBatch] = field(default_factory=lambda: iter(()))
    error: KappaError | None = None
    stable_offset: int | None = None

    @property
    def finished(self) -> bool:
        return self.end is not None and self.position >= self.end

    @property
    def stirring(self) -> bool:
        """Whether ``next`` has something to say of it at once."""
        return bool(self.scans) or self.finished or self.error is not None


class LogReader:
    """Reads committed records of given offset ranges, prefetching. A context manager.

    Memory: responses that wait to be taken hold ``buffer_bytes`` (still compressed) and at most
    one record batch more per partition. What ``next`` returns is decompressed and the caller's;
    one batch holds at most 64 MiB of it, or one record batch if that is larger.

    Args:
        ranges: per partition the first offset and the exclusive end, None to follow the log.
            Take the end from ``topic_history``: the last stable offset, not the high watermark.
        topic_ids: Kafka's ids by topic, as in ``TopicHistory``. With them a topic that was
            deleted and created again is refused instead of read.
        fetch_bytes: how much to ask for at once; less if ``buffer_bytes`` is short.
        with_keys: without, ``RawBatch.keys`` stays empty and reading is faster.
        patience_s: how long to wait for a broker that stopped answering. Before the first answer
            it is the settings' ``default_api_timeout_ms``.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        ranges: Mapping[TopicPartition, tuple[int, int | None]],
        *,
        topic_ids: Mapping[str, str] | None = None,
        fetch_bytes: int = FETCH_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
        with_keys: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.bytes_fetched = 0
        self._with_keys = with_keys
        self._shelves = {part: _Shelf(start, end) for part, (start, end) in ranges.items()}
        self._changed = threading.Condition()
        self._closed = False
        first_s = kafka.default_api_timeout_ms / 1000
        self._brokers = Brokers(
            aiokafka_arguments(kafka), frozenset(part.topic for part in ranges), first_s
        )
        self._fetcher = Fetcher(
            self._brokers,
            ranges,
            topic_ids or {},
            FetchPlan.within(buffer_bytes, len(ranges), fetch_bytes),
            Patience(first_s, patience_s),
            self,
        )
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._serve())
        self._task.add_done_callback(self._ended)
        self._thread = threading.Thread(target=self._run, name="kappa-fetch", daemon=True)
        self._thread.start()

    def next(self, partition: TopicPartition, timeout_s: float | None = None) -> RawBatch | None:
        """The batch after the last one, in offset order.

        Returns:
            None once the end of the range is reached, or if ``timeout_s`` passed without any.
            A batch without records moves the position past offsets that deliver nothing.

        Raises:
            OffsetOutOfRange: retention or delete-records overtook the reader.
            UnknownTopic, TopicRecreated: the topic is gone, or another one has its name.
            BrokerUnavailable: no broker answered for too long.
            CorruptBatch: a checksum does not match.
        """
        shelf = self._shelves[partition]
        deadline = None if timeout_s is None else monotonic() + timeout_s
        try:
            while True:
                piece = next(shelf.pieces, None)
                if piece is not None:
                    shelf.position = piece.next_offset
                    return piece
                taken = self._take(partition, shelf, deadline)
                if taken is None:
                    return None
                shelf.pieces = extract(taken, partition, with_keys=self._with_keys)
        except KappaError as error:
            shelf.error = error  # for good: to go on would skip what could not be read
            raise

    def wait(self, partitions: Collection[TopicPartition], timeout_s: float) -> None:
        """Waits until ``next`` has a batch, an end or an error of one of these partitions."""
        shelves = [self._shelves[partition] for partition in partitions]
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or any(shelf.stirring for shelf in shelves), timeout_s
            )

    def ended(self, partition: TopicPartition) -> bool:
        """Whether the end of the partition's range is reached."""
        return self._shelves[partition].finished

    def position(self, partition: TopicPartition) -> int:
        """The offset after the last batch that ``next`` returned."""
        return self._shelves[partition].position

    def stable_offset(self, partition: TopicPartition) -> int | None:
        """The last stable offset the broker last told of; None before its first answer."""
        return self._shelves[partition].stable_offset

    @property
    def buffered_bytes(self) -> int:
        """Fetched and not taken yet, as fetched."""
        with self._changed:
            return sum(scan.size_bytes for shelf in self._shelves.values() for scan in shelf.scans)

    def close(self) -> None:
        """Ends the thread and its connections, within ten seconds even without a broker."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._in_loop(self._task.cancel)
        self._thread.join(_CLOSE_S)

    def deliver(self, partition: TopicPartition, scanned: Scan, stable_offset: int) -> None:
        """Called by the fetcher, in its thread."""
        shelf = self._shelves[partition]
        with self._changed:
            shelf.scans.append(scanned)
            shelf.stable_offset = stable_offset
            self.bytes_fetched += scanned.size_bytes
            self._changed.notify_all()

    def fail(self, partition: TopicPartition, error: KappaError) -> None:
        """Called by the fetcher, in its thread."""
        with self._changed:
            self._shelves[partition].error = error
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(
        self, partition: TopicPartition, shelf: _Shelf, deadline: float | None
    ) -> Scan | None:
        """Waits for a scan, and takes small ones that wait too.

        What was fetched before a failure is handed out before it.
        """
        with self._changed:
            while not shelf.scans:
                if shelf.finished:
                    return None
                if shelf.error is not None:
                    raise shelf.error
                if self._closed:
                    raise LogError("the reader is closed", topic=partition.topic)
                wait_s = None if deadline is None else deadline - monotonic()
                if wait_s is not None and wait_s <= 0:
                    return None
                self._changed.wait(wait_s)
            scanned = shelf.scans.popleft()
            taken = 1
            while shelf.scans and scanned.size_bytes + shelf.scans[0].size_bytes <= TOGETHER_BYTES:
                scanned = scanned.followed_by(shelf.scans.popleft())
                taken += 1
        self._in_loop(self._fetcher.taken, partition, taken)
        return scanned

    def _run(self) -> None:
        """The thread: one event loop from first to last."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(asyncio.wait({self._task}))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            with self._changed:
                self._loop.close()

    async def _serve(self) -> None:
        try:
            await self._fetcher.run()
        finally:
            await self._brokers.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ended the fetching, nobody may wait for it any longer."""
        cause = None if task.cancelled() else task.exception()
        if cause is None:
            return
        for partition, shelf in self._shelves.items():
            if shelf.error is None:
                error = LogError(f"fetching ended unexpectedly: {cause!r}")
                error.__cause__ = cause
                self.fail(partition, error)

    def _in_loop(self, call: Callable[..., object], *args: object) -> None:
        """Schedules a call, unless the loop has ended because every range was read."""
        with self._changed:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call, *args)
