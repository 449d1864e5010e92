"""The letter that is one too many is the same one however records are cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import TooManyDeadLetters
from kappa.log.records import TopicPartition
from kappa.processing.dead_letter_limit import DeadLetterLimit
from kappa.runtime.worker.budget import DeadLetterBudget
from kappa.tables.dead_letters import FRAME_SCHEMA, Known

PLACE = TopicPartition("orders", 2)

FINE, LETTER, CLOSING, FAILED_COPY = "fine", "letter", "closing", "failed copy"
"""A record: applied, a letter, a copy that closes a letter, a copy that is a letter too."""


class Table:
    """Letters before the claim, and what a person drops meanwhile."""

    processor, version = "orders", 1

    def __init__(self, limit: DeadLetterLimit, before: int = 0) -> None:
        self.limit = limit
        self.before = before
        self.dropped = 0

    def known(self, place: TopicPartition, offsets: Collection[int]) -> Mapping[int, Known]:
        raise AssertionError("nobody asks")

    def open_before(self, place: TopicPartition, offset: int) -> int:
        return self.before

    def dropped_from(self, place: TopicPartition, offset: int) -> int:
        return self.dropped


def stop_of(log: list[str], limit: DeadLetterLimit) -> int | None:
    """The slow way: the offset of the letter that is one too many."""
    letters = 0
    for offset, what in enumerate(log):
        letters += {LETTER: 1, CLOSING: -1}.get(what, 0)
        if what != LETTER:
            continue
        if limit.count is not None and letters > limit.count:
            return offset
        most = None if limit.rate is None else max(limit.rate * (offset + 1), limit.rate_from)
        if most is not None and letters > most:
            return offset
    return None


def spend(budget: DeadLetterBudget, log: list[str], begin: int, end: int) -> None:
    rows = [
        {
            "offset": at,
            "error_class": "Refused",
            "message": "no",
            "retry_of": 0 if log[at] == FAILED_COPY else None,
        }
        for at in range(begin, end)
        if log[at] in (LETTER, FAILED_COPY)
    ]
    names = ("offset", "error_class", "message", "retry_of")
    dead = pl.DataFrame(rows, schema={name: FRAME_SCHEMA[name] for name in names})
    applied = [at for at in range(begin, end) if log[at] == CLOSING]
    budget.spend(np.arange(begin, end), dead, applied)


kinds = st.sampled_from([FINE, LETTER, LETTER, CLOSING, FAILED_COPY])
limits = st.builds(
    DeadLetterLimit,
    count=st.none() | st.integers(0, 8),
    rate=st.none() | st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]),
    rate_from=st.integers(0, 5),
)


@given(st.lists(kinds, max_size=30), limits, st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_it_stops_where_one_record_at_a_time_would(
    drawn: list[str], limit: DeadLetterLimit, cuts: set[int], claimed: int
) -> None:
    log = []
    for what in drawn:  # a copy closes a letter only where one is open
        is_open = log.count(LETTER) > log.count(CLOSING)
        log.append(FINE if what == CLOSING and not is_open else what)
    claimed = min(claimed, len(log))
    expected = stop_of(log, limit)
    if expected is not None and expected < claimed:
        claimed = 0
    before = log[:claimed].count(LETTER) - log[:claimed].count(CLOSING)
    budget = DeadLetterBudget(PLACE, claimed, claimed, Table(limit, before))
    bounds = sorted({claimed, len(log), *(at for at in cuts if claimed < at < len(log))})
    stopped = None
    try:
        for begin, end in pairwise(bounds):
            spend(budget, log, begin, end)
    except TooManyDeadLetters as error:
        stopped = error.detail["offset"]
    assert stopped == expected


def test_what_is_dropped_meanwhile_makes_room() -> None:
    table = Table(DeadLetterLimit(count=3, rate=None), before=2)
    budget = DeadLetterBudget(PLACE, 100, 100, table)
    log = [LETTER] * 4
    spend(budget, log, 0, 1)
    table.before, table.dropped = 0, 1
    spend(budget, log, 1, 3)
    with pytest.raises(TooManyDeadLetters):
        spend(budget, [LETTER] * 8, 3, 8)
