"""Which stretches of time several checkpoints share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.tables.split import shared_stretches

Spans = list[tuple[int, int]]


def at(minute: int) -> datetime:
    return datetime(2024, 1, 1, minute // 60, minute % 60, tzinfo=UTC)


def shared(spans: Spans) -> Spans:
    found = shared_stretches([(at(begin), at(end)) for begin, end in spans])
    return [(_minute(begin), _minute(end)) for begin, end in found]


def _minute(moment: datetime) -> int:
    return moment.hour * 60 + moment.minute


@pytest.mark.parametrize(
    ("spans", "stretches"),
    [
        ([], []),
        ([(0, 9)], []),
        # ├────┤
        #        ├────┤
        ([(0, 4), (5, 9)], []),
        # ├────┤
        #      ├────┤
        ([(0, 5), (5, 9)], [(5, 5)]),
        # ├──────────┤
        #     ├──┤
        ([(0, 9), (3, 6)], [(3, 6)]),
        # ├──────────────┤
        #   ├──┤
        #          ├──┤
        ([(0, 20), (3, 6), (10, 12)], [(3, 6), (10, 12)]),
        # ├──────┤
        #    ├───────┤
        #      ├──────────┤
        ([(0, 6), (3, 10), (5, 15)], [(3, 10)]),
        ([(0, 9), (0, 9), (0, 9)], [(0, 9)]),
    ],
)
def test_drawn(spans: Spans, stretches: Spans) -> None:
    assert shared(spans) == stretches


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=8))
def test_every_minute_in_two_spans_is_shared_and_no_other(drawn: Spans) -> None:
    spans = [(begin, begin + length) for begin, length in drawn]
    stretches = shared(spans)
    for minute in range(60):
        several = sum(begin <= minute <= end for begin, end in spans) > 1
        assert any(begin <= minute <= end for begin, end in stretches) == several
