"""Which copies of records a version applies: those of its own open letters, and each only once.

    log:     r0  r1  r2  c(r1)  c(r0)  c(r1)          r1 is a dead letter
    applied: r0      r2  c(r1)                        c(r0), the second c(r1): filtered

Whether a copy is applied depends on what became of the records before it, and on nothing else.
So a batch is folded in stretches that end before a copy whose fate the stretch itself decides:
one of a record in it, or a second one of the same record.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kappa.log.copies import original
from kappa.log.records import RawBatch, TopicPartition
from kappa.runtime.worker.letters import Letters
from kappa.tables.dead_letters import Known, Retried


@dataclass(frozen=True)
class Stretch:
    """A part of a batch to be folded at once.

    Attributes:
        offsets: of all its records.
        raw: its records, without the copies that are filtered.
        originals: of the copies in it, the offsets of their originals by their own.
    """

    offsets: NDArray[np.int64]
    raw: RawBatch
    originals: dict[int, int] = field(default_factory=dict)

    @property
    def filtered(self) -> int:
        """How many copies were left out."""
        return len(self.offsets) - len(self.raw)


class Copies:
    """Decides about the copies in one partition, from when it is claimed.

    Args:
        start: the offset the partition was claimed at. Letters before it are in the table; those
            from there on are remembered, eight bytes each.
    """

    def __init__(self, place: TopicPartition, topic_id: str, start: int, letters: Letters) -> None:
        self._place = place
        self._topic_id = topic_id
        self._start = start
        self._letters = letters
        self._dead = array("q")
        self._failed: dict[int, int] = {}  # the originals of copies that are letters too
        self._applied: set[int] = set()  # originals
        self._news: list[Retried] = []

    def stretches(self, raw: RawBatch) -> Iterator[Stretch]:
        """The batch in parts; each must be told to ``folded`` before the next is asked for."""
        if not raw.copies:
            yield Stretch(raw.offsets, raw)
            return
        named = {
            at: original(header, self._topic_id, self._place.partition)
            for at, header in raw.copies.items()
        }
        stored = self._stored(named.values())
        rest: RawBatch | None = raw
        while rest is not None:
            stretch, rest = self._next(rest, named, stored)
            yield stretch

    def folded(self, stretch: Stretch, dead: Collection[int]) -> list[int]:
        """A stretch was folded; ``dead`` are the offsets of its letters of records, in order.

        Returns the offsets of its copies that were applied.
        """
        self._dead.extend(dead)
        if not stretch.originals:
            return []
        failed = set(dead)
        applied = []
        for copy, of in stretch.originals.items():
            if copy in failed:
                self._failed[copy] = of
                continue
            self._applied.add(of)
            self._news.append(Retried(self._place.topic, self._place.partition, of, copy))
            applied.append(copy)
        return applied

    def take_applied(self) -> list[Retried]:
        """The copies applied since the last time, for the checkpoint they belong to."""
        news, self._news = self._news, []
        return news

    def _next(
        self, rest: RawBatch, named: dict[int, int | None], stored: dict[int, Known]
    ) -> tuple[Stretch, RawBatch | None]:
        begin = int(rest.offsets[0]) if len(rest) else rest.next_offset
        originals: dict[int, int] = {}
        filtered: list[int] = []
        claimed: set[int] = set()
        end: int | None = None
        for at in sorted(rest.copies):
            of = named[at]
            if of is not None and begin <= of < at:
                end = at
                break
            known = None if of is None or of >= at else self._known(of, stored)
            if known is not None and known.original in claimed:
                end = at
                break
            if known is None or known.is_retried:
                filtered.append(at)
            else:
                originals[at] = known.original
                claimed.add(known.original)
        left: RawBatch | None = None
        if end is not None:
            rest, left = rest.cut(int(np.searchsorted(rest.offsets, end)))
        return Stretch(rest.offsets, rest.without(filtered), originals), left

    def _known(self, offset: int, stored: dict[int, Known]) -> Known | None:
        """What there is of the record at ``offset``, which has been folded."""
        if offset < self._start:
            found = stored.get(offset)
            if found is None:
                return None
            of, retried = found.original, found.is_retried
        else:
            at = bisect_left(self._dead, offset)
            if at == len(self._dead) or self._dead[at] != offset:
                return None
            of, retried = self._failed.get(offset, offset), False
        return Known(of, retried or of in self._applied)

    def _stored(self, offsets: Collection[int | None]) -> dict[int, Known]:
        """What the table knows of those offsets that lie before the claim."""
        before = {offset for offset in offsets if offset is not None and offset < self._start}
        return dict(self._letters.known(self._place, before)) if before else {}
