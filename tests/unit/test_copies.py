"""Which copies are applied, whatever the cuts between batches and the restarts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kappa.log.copies import header_value
from kappa.log.records import RawBatch, TopicPartition
from kappa.processing.dead_letter_limit import NO_LIMIT
from kappa.runtime.worker.copies import Copies
from kappa.tables.dead_letters import Known

PLACE = TopicPartition("orders", 2)
TOPIC_ID = "an-id"

Log = list[tuple[bool, int | None]]
"""Per offset: whether the record fails, and which offset it names as its original."""


@dataclass
class Outcome:
    """What became of a log.

    Attributes:
        letters: by offset, the original: its own, except for copies.
        applied: by original, the copy that was applied.
        filtered: the copies that were left out.
    """

    letters: dict[int, int] = field(default_factory=dict)
    applied: dict[int, int] = field(default_factory=dict)
    filtered: list[int] = field(default_factory=list)


class Table:
    """What was committed before the partition was claimed."""

    processor, version, limit = "orders", 1, NO_LIMIT

    def __init__(self, committed: Outcome) -> None:
        self._letters = dict(committed.letters)
        self._applied = dict(committed.applied)

    def known(self, place: TopicPartition, offsets: Collection[int]) -> Mapping[int, Known]:
        assert place == PLACE
        return {
            offset: Known(self._letters[offset], self._letters[offset] in self._applied)
            for offset in offsets
            if offset in self._letters
        }

    def open_before(self, place: TopicPartition, offset: int) -> int:
        raise AssertionError("nobody counts here")

    dropped_from = open_before


def reference(log: Log) -> Outcome:
    outcome = Outcome()
    for offset, (fails, named) in enumerate(log):
        original = offset
        if named is not None:
            original = outcome.letters.get(named, -1)
            if original < 0 or original in outcome.applied:
                outcome.filtered.append(offset)
                continue
        if fails:
            outcome.letters[offset] = original
        elif named is not None:
            outcome.applied[original] = offset
    return outcome


def raw(log: Log, begin: int, end: int) -> RawBatch:
    offsets = np.arange(begin, end)
    return RawBatch(
        topic=PLACE.topic,
        partition=PLACE.partition,
        start_offset=begin,
        next_offset=end,
        offsets=offsets,
        timestamps=offsets,
        keys=[],
        values=[b""] * len(offsets),
        size_bytes=0,
        copies={
            at: header_value(TOPIC_ID, PLACE.partition, named)
            for at in range(begin, end)
            if (named := log[at][1]) is not None
        },
    )


def folded(log: Log, cuts: Collection[int], restarts: Collection[int]) -> Outcome:
    outcome = Outcome()
    copies = Copies(PLACE, TOPIC_ID, 0, Table(outcome))
    bounds = sorted({0, len(log), *cuts, *restarts})
    for begin, end in pairwise(bounds):
        if begin in restarts:
            copies = Copies(PLACE, TOPIC_ID, begin, Table(outcome))
        seen: list[int] = []
        for stretch in copies.stretches(raw(log, begin, end)):
            seen += stretch.offsets.tolist()
            left = stretch.raw.offsets.tolist()
            assert stretch.filtered == len(stretch.offsets) - len(left)
            outcome.filtered += sorted(set(stretch.offsets.tolist()) - set(left))
            dead = [offset for offset in left if log[offset][0]]
            applied = copies.folded(stretch, dead)
            outcome.letters |= {at: stretch.originals.get(at, at) for at in dead}
            assert applied == sorted(set(stretch.originals) - set(dead))
        assert seen == list(range(begin, end))
        outcome.applied |= {one.original: one.copy for one in copies.take_applied()}
    return outcome


records = st.tuples(st.booleans(), st.none() | st.integers(0, 30))
places = st.sets(st.integers(0, 30), max_size=6)


@given(st.lists(records, max_size=30), places, places)
def test_copies_are_judged_one_by_one_however_they_are_cut(
    log: Log, cuts: set[int], restarts: set[int]
) -> None:
    inside = {at for at in cuts if at < len(log)}, {at for at in restarts if at < len(log)}
    assert folded(log, *inside) == reference(log)


def test_many_copies_are_folded_at_once() -> None:
    """A batch of a thousand letters and their copies is cut once, between the two."""
    log: Log = [(True, None)] * 1000 + [(False, at) for at in range(1000)]
    copies = Copies(PLACE, TOPIC_ID, 0, Table(Outcome()))
    sizes = []
    for stretch in copies.stretches(raw(log, 0, 2000)):
        sizes.append(len(stretch.offsets))
        copies.folded(stretch, [at for at in stretch.raw.offsets.tolist() if log[at][0]])
    assert sizes == [1000, 1000]
    assert len(copies.take_applied()) == 1000
    assert copies.take_applied() == []
