"""Outputs into Kafka topics, under each of the three guarantees.

Exactly once, a batch and the relay's position are one Kafka transaction, and what has left is
dropped from the outbox by the next step:

    PostgreSQL   choose 7 ─────────────────── drop 7, choose 8 ──────────
    Kafka                 [records 7 | at 7]                    [records 8 | …

Killed before the transaction commits, the batch is sent again, as its records never count;
killed after, the position says what to drop.

Rows that change are published in transactions under every guarantee: a relay that was replaced
while it was paused would else publish an older value behind a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from kappa.config import require_kafka
from kappa.errors import TopicExists
from kappa.failpoints import reach
from kappa.log import positions, topics
from kappa.log.transactions import TRANSACTION_MS, BatchProducer, Outgoing
from kappa.runtime.outputs.encoder import OutputEncoder, key_text
from kappa.runtime.relay.batchsize import BatchSize
from kappa.runtime.relay.relaying import Channel, Sending
from kappa.tables import dirty_keys, outbox, progress
from kappa.tables.layout import Layout
from kappa.tables.outbox import Place, Source, Waiting
from kappa.tables.publication import (
    AT_MOST_ONCE,
    EXACTLY_ONCE,
    Carries,
    Publication,
    TopicTarget,
)

_FORMAT = 1
_BATCH_ROWS = 2_000
_PATIENCE_S = 3 * TRANSACTION_MS / 1000


@dataclass(frozen=True)
class Position:
    """How far an output has been sent.

    Attributes:
        through: the last row that left, by partition of the source.
        batch: the number of the last batch of changed rows that left.
    """

    through: Mapping[Source, Place] = field(default_factory=dict)
    batch: int = 0

    def document(self) -> bytes:
        """The position as it is published."""
        through = [[*source, *place] for source, place in sorted(self.through.items())]
        said = {"format": _FORMAT, "through": through, "batch": self.batch}
        return json.dumps(said, separators=(",", ":")).encode()

    @staticmethod
    def of(document: bytes | None) -> Position:
        """The position that was published; the beginning where none was."""
        if document is None:
            return Position()
        said = json.loads(document)
        through = {(topic, part): (offset, index) for topic, part, offset, index in said["through"]}
        return Position(through, said["batch"])


@contextmanager
def open_topic(sending: Sending, layout: Layout, sent: Publication) -> Iterator[Channel]:
    """The way of an output to its topic, which is made if it is not there.

    Raises:
        BrokerUnavailable, LogError: no broker is there, or it refuses.
    """
    kafka = require_kafka(sending.settings)
    target = sent.target
    assert isinstance(target, TopicTarget)
    _ensure_topic(sending, layout, sent, target)
    kept = sending.settings.outputs.positions_topic
    keeps_position = sent.guarantee == EXACTLY_ONCE
    is_transactional = keeps_position or sent.carries is not Carries.RECORDS
    name = f"kappa.{sending.processor}.{sending.output}"
    key = f"{sending.processor}.{sending.output}".encode()
    if keeps_position:
        positions.ensure_exists(kafka, kept)
    with BatchProducer(kafka, name if is_transactional else None) as producer:
        sending.tell(0, 0)  # a broker that is slow to answer is no reason to be taken for hanging
        # Only now: the transaction of whoever came before has ended, this way or that.
        found = positions.read_last(kafka, kept, key, _PATIENCE_S) if keeps_position else None
        publisher = _Publisher(producer, target.topic, Position.of(found), (kept, key), sent)
        if sent.carries is Carries.RECORDS:
            yield _Records(sending, layout, publisher)
        else:
            yield _Rows(sending, layout, sent, publisher)


def _ensure_topic(sending: Sending, layout: Layout, sent: Publication, target: TopicTarget) -> None:
    kafka = require_kafka(sending.settings)
    if topics.exists(kafka, target.topic):
        return
    with sending.engine.connect() as connection:
        read = progress.read(connection, layout.processor, layout.version)
    try:
        topics.create_topic(
            kafka,
            target.topic,
            partitions=target.partitions or max(len(read), 1),
            compact=sent.carries is Carries.UPDATES,
        )
    except TopicExists:
        return


class _Publisher:
    """Publishes batches with the position they lead to."""

    def __init__(
        self,
        producer: BatchProducer,
        topic: str,
        position: Position,
        kept: tuple[str, bytes],
        sent: Publication,
    ) -> None:
        self.topic = topic
        self.position = position
        self.partitions = producer.partitions(topic)
        self.first_drops = sent.guarantee == AT_MOST_ONCE
        self._producer = producer
        self._kept = kept if sent.guarantee == EXACTLY_ONCE else None

    def publish(self, batch: Sequence[Outgoing], position: Position) -> None:
        records = list(batch)
        if self._kept is not None:
            topic, key = self._kept
            records.append(Outgoing(topic, key, position.document(), 0))
        reach("relay_chosen")
        self._producer.publish(records)
        reach("relay_sent")
        self.position = position


class _Records:
    """Rows that leave as they are, in the order of the records that caused them.

    All rows of a source partition go to one partition of the topic, so that they stay in order.
    """

    def __init__(self, sending: Sending, layout: Layout, publisher: _Publisher) -> None:
        self._sending = sending
        self._version = layout.version
        self._publisher = publisher

    def step(self) -> int | None:
        sending, publisher = self._sending, self._publisher
        of = (sending.processor, self._version, sending.output)
        with sending.engine.begin() as connection:
            if not sending.is_mine(connection, self._version):
                return None
            outbox.discard(connection, *of, publisher.position.through)
            rows = outbox.waiting(connection, *of, _BATCH_ROWS)
            left = {(row.topic_id, row.partition): (row.offset, row.index) for row in rows}
            if publisher.first_drops:
                outbox.discard(connection, *of, left)
        if rows:
            position = Position({**publisher.position.through, **left}, publisher.position.batch)
            publisher.publish([self._outgoing(row) for row in rows], position)
            sending.tell(len(rows), 0)
        return len(rows)

    def _outgoing(self, row: Waiting) -> Outgoing:
        partition = row.partition % self._publisher.partitions
        return Outgoing(self._publisher.topic, row.key, row.value, partition)


class _Rows:
    """Rows that changed or have become final, as they are now; a tombstone where one is gone.

    Keys are chosen and their rows read in one snapshot, so that no value leaves twice.
    """

    def __init__(
        self, sending: Sending, layout: Layout, sent: Publication, publisher: _Publisher
    ) -> None:
        self._sending = sending
        self._layout = layout
        self._encoder = OutputEncoder(layout, sent)
        self._publisher = publisher
        self._size = BatchSize(_BATCH_ROWS)
        self._snapshots: Engine = sending.engine.execution_options(
            isolation_level="REPEATABLE READ"
        )
        self._begun = False

    def step(self) -> int | None:
        sending, publisher = self._sending, self._publisher
        of = (sending.processor, sending.output)
        before = publisher.position
        batch, most = before.batch + 1, self._size.rows
        with self._snapshots.begin() as connection:
            if not sending.is_mine(connection, self._layout.version):
                return None
            if not self._begun:
                dirty_keys.begin(connection, *of, before.batch)
            else:
                dirty_keys.discard(connection, *of, before.batch)
            present, gone = dirty_keys.take(
                connection, self._layout, sending.output, batch, most, self._encoder.types
            )
            if publisher.first_drops:
                dirty_keys.discard(connection, *of, batch)
        self._begun = True
        if len(present) + len(gone):
            values = self._encoder.encode(present)
            records = [
                *zip(present[dirty_keys.KEY], values, strict=True),
                *((key, None) for key in gone[dirty_keys.KEY]),
            ]
            topic = publisher.topic
            outgoing = [Outgoing(topic, key_text(key), value) for key, value in records]
            publisher.publish(outgoing, Position(before.through, batch))
            size = sum(len(one.key or b"") + len(one.value or b"") for one in outgoing)
            self._size.sent(len(outgoing), size)
            sending.tell(len(outgoing), 0)
        return len(present) + len(gone)
