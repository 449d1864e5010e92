"""Tries a processor out: events go in one by one, rows come out. No broker, no database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from kappa.errors import DeclarationError
from kappa.testing.handled import KeyedKind, Timer, emitted
from kappa.testing.kinds import Passing, Shown
from kappa.testing.moments import Moment, in_ms, moment
from kappa.testing.rehearsal import Rehearsal
from kappa.testing.rows import Row, RowReader
from kappa.testing.setup import Processor, Schema, kind_of
from kappa.testing.topic import Sent, Topic


class Driver:
    """One version of a processor at work in memory, with time moved by hand.

    Whatever is looked at is looked at after a checkpoint, as in a database. Partitions exist
    once they are used.

    Args:
        processor: a declaration, or a keyed processor or its class.
        schema: the path of the topic's Avro schema, or its columns and their Polars types.
        record_key: the column that is the topic's record key (``topics create --key``), where
            the processor does not say it itself.

    Raises:
        DeclarationError: the processor does not fit the columns.
        InvalidSchema: the schema cannot be read.
    """

    def __init__(
        self, processor: Processor, *, schema: Schema, record_key: str | None = None
    ) -> None:
        reader = RowReader.of(schema)
        self._kind = kind_of(processor, reader, record_key)
        self._topic = Topic(self._kind.source, reader, self._kind.record_key)
        self._rehearsal = Rehearsal(self._kind)

    def send(
        self,
        *rows: Row | None,
        partition: int = 0,
        timestamp: Moment | None = None,
        key: str | None = None,
    ) -> None:
        """Has the processor take these records, as one batch.

        Args:
            rows: their columns by name; None for a tombstone, which needs a ``key``. A column
                left out has the schema's default, or is null.
            timestamp: when they reached the topic; by default at their event time, or at the
                greatest timestamp of the partition so far, if that is later.
            key: their record key; by default the text of the column that is the record key.

        Raises:
            BadRecord: a row does not fit the topic's columns.
        """
        sent = [Sent(row, timestamp, key) for row in rows]
        self._rehearsal.take(self._topic.append(partition, sent))

    def advance_watermark(self, to: Moment, *, partition: int = 0) -> None:
        """Has the partition's watermark reach a moment, as another key's record would.

        It closes windows and fires event-time timers; a watermark never goes back.

        Raises:
            BadRecord: the text is no moment, or the event-time column cannot hold it.
            DeclarationError: the source has no event time.
        """
        self._require_event_time()
        time = in_ms(to) + self._kind.source.out_of_orderness_ms
        self._rehearsal.take(Passing(partition, self._topic.skip(partition), event_time=time))

    def advance_time(self, to: Moment, *, partition: int = 0) -> None:
        """Has the partition's processing time reach a moment, as another key's record would.

        It fires processing-time timers; processing time never goes back.
        """
        time = in_ms(to)
        self._topic.reach(partition, time)
        self._rehearsal.take(Passing(partition, self._topic.skip(partition), record_time=time))

    def checkpoint(self) -> None:
        """Commits what was done so far."""
        self._rehearsal.checkpoint()

    def restart(self) -> None:
        """Forgets all that is in memory and goes on from the last checkpoint.

        What was sent since is read again, as from the topic.
        """
        self._rehearsal.restart()

    @property
    def rows(self) -> Shown:
        """What the view shows, sorted by key."""
        self.checkpoint()
        return self._kind.shown(self._rehearsal.tables, self._rehearsal.final_through)

    @property
    def late(self) -> Shown:
        """The table of late records, in the order of their places."""
        self.checkpoint()
        return in_place(self._rehearsal.tables.late)

    @property
    def dead_letters(self) -> Shown:
        """Records that were refused or failed, and timers that failed, with the record's row.

        The keys are ``partition``, ``offset``, ``error_class``, ``message``, ``stack``, ``timer``
        and ``row``.
        """
        self.checkpoint()
        return [
            {**letter, "row": self._topic.rows.get((letter["partition"], letter["offset"]))}
            for letter in dead(self._rehearsal.tables.dead)
        ]

    @property
    def final_through(self) -> datetime | None:
        """Up to when windows are final by the partitions used; None if none is."""
        self.checkpoint()
        reached = self._rehearsal.final_through
        return None if reached is None else moment(reached)

    def output(self, name: str) -> Shown:
        """What the view of a side output shows, in the order of the records.

        Raises:
            DeclarationError: the processor declares no such output.
        """
        self.checkpoint()
        sides = self._rehearsal.tables.sides
        if name not in sides:
            raise DeclarationError(
                f"there is no output {name!r}",
                hint="the side outputs are " + (", ".join(sides) or "none"),
            )
        return emitted(sides[name])

    @property
    def timers(self) -> list[Timer]:
        """The timers that are set, in the order in which they are due.

        Raises:
            DeclarationError: it is no keyed processor.
        """
        self.checkpoint()
        return self._keyed().timers(self._rehearsal.tables)

    def state(self, key: object) -> dict[str, Any]:
        """What each state holds for a key; None where it is empty.

        Raises:
            DeclarationError: it is no keyed processor.
        """
        self.checkpoint()
        kind = self._keyed()
        empty = dict.fromkeys(kind.bound.states)
        return kind.states(self._rehearsal.tables).get(_text(key), empty)

    def _keyed(self) -> KeyedKind:
        if isinstance(self._kind, KeyedKind):
            return self._kind
        raise DeclarationError("only keyed processors have states and timers")

    def _require_event_time(self) -> None:
        if self._kind.source.event_time is None:
            raise DeclarationError(
                f"the source {self._kind.source.topic!r} has no event time, so no watermark",
                hint="use advance_time, or declare an event time",
            )


def in_place(frames: list[pl.DataFrame]) -> Shown:
    """Late records in the order of their places."""
    return pl.concat(frames).sort("_partition", "_offset").to_dicts() if frames else []


def dead(frames: list[pl.DataFrame]) -> Shown:
    """Dead letters in the order of their places, and as they came where they share one."""
    if not frames:
        return []
    letters = pl.concat(frames).rename(lambda name: name.removeprefix("@"))
    return letters.sort("partition", "offset", maintain_order=True).to_dicts()


def _text(key: object) -> str:
    """A record key as it stands in the topic."""
    return str(key).lower() if isinstance(key, bool) else str(key)
