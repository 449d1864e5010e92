"""Sessions of whole histories against the record-by-record reference, in one batch or many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.eventtime.chains import chains
from tests.unit.session_reference import (
    Event,
    Opened,
    Rules,
    assigned,
    judged,
    lateness,
    members,
)

rules = st.builds(
    Rules,
    gap=st.integers(1, 12),
    lateness=st.integers(0, 12),
    max_length=st.none() | st.integers(1, 30),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Records of one partition as they arrive: in disorder, with jumps, of a few keys."""
    out_of_orderness = draw(st.integers(0, 15))
    steps = st.tuples(
        st.integers(0, 2),  # key
        st.integers(0, 6) | st.sampled_from([40, 200]),  # how far time moves on
        st.just(0) | st.integers(0, 40),  # how far behind the record is
    )
    now, watermark, events = draw(st.integers(-100, 100)), -(10**9), []
    for key, step, behind in draw(st.lists(steps, max_size=40)):
        now += step
        watermark = max(watermark, now - behind - out_of_orderness)
        events.append(Event(key, now - behind, watermark))
    return events


@st.composite
def leftovers(draw: st.DrawFn) -> list[Opened]:
    """Sessions from before, near to each other or not, closed long since or not."""
    spans = st.tuples(st.integers(0, 2), st.integers(-100, 200), st.integers(0, 30))
    each = draw(st.lists(spans, max_size=6, unique_by=lambda span: span[:2]))
    return [Opened(key, first, first + length) for key, first, length in each]


@settings(max_examples=800)
@given(rules, leftovers(), histories())
def test_records_are_judged_as_one_by_one(
    rules: Rules, opened: list[Opened], events: list[Event]
) -> None:
    sessions, late = judged(rules, opened, events)
    assignment = assigned(rules, opened, events)
    assert members(assignment) == {frozenset(session.members) for session in sessions}
    assert lateness(assignment) == late
    in_time = assignment.of_event >= 0
    assert not assignment.late_by[in_time].any()


@settings(max_examples=150)
@given(rules, histories(), st.sampled_from([(1, 10**9), (2**50, 1), (2**44, 10**11)]))
def test_numbers_of_any_size_are_judged_alike(
    rules: Rules, events: list[Event], scale: tuple[int, int]
) -> None:
    keys, times = scale
    far = [Event((e.key - 1) * keys, e.time * times, e.watermark * times) for e in events]
    longest = None if rules.max_length is None else rules.max_length * times
    there = assigned(Rules(rules.gap * times, rules.lateness * times, longest), [], far)
    here = assigned(rules, [], events)
    assert members(there) == members(here)
    assert lateness(there) == {number: by * times for number, by in lateness(here).items()}


@settings(max_examples=400)
@given(rules, histories(), st.data())
def test_batches_make_no_difference(rules: Rules, events: list[Event], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5), label="cuts"))
    drops_closed = data.draw(st.booleans(), label="drops closed sessions between batches")
    finished: list[frozenset[int]] = []
    opened: list[tuple[Opened, frozenset[int]]] = []
    late: set[int] = set()
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        batch = events[begin:end]
        after = carried(rules, opened, batch, begin)
        late |= set(range(begin, end)) - {number for _, made_of in after for number in made_of}
        opened = data.draw(st.permutations(after), label="open")
        if drops_closed and batch:
            closed = batch[-1].watermark - rules.gap - rules.lateness
            finished += [made_of for session, made_of in opened if session.last <= closed]
            opened = [(session, made_of) for session, made_of in opened if session.last > closed]
    sessions, late_at_once = judged(rules, [], events)
    at_once = {frozenset(int(m.removeprefix("event ")) for m in s.members) for s in sessions}
    assert {*finished, *(made_of for _, made_of in opened)} == at_once
    assert late == set(late_at_once)


def carried(
    rules: Rules, opened: Sequence[tuple[Opened, frozenset[int]]], batch: list[Event], begin: int
) -> list[tuple[Opened, frozenset[int]]]:
    """The sessions after a batch, and the numbers of all records they ever took."""
    after = []
    for each in members(assigned(rules, [session for session, _ in opened], batch)):
        kind_and_number = [name.split() for name in each]
        before = [opened[int(number)] for kind, number in kind_and_number if kind == "open"]
        new = [int(number) for kind, number in kind_and_number if kind == "event"]
        spans = [*(s for s, _ in before), *(Opened(e.key, e.time, e.time) for e in at(batch, new))]
        made_of = frozenset(begin + n for n in new).union(*(made_of for _, made_of in before))
        first, last = min(s.first for s in spans), max(s.last for s in spans)
        after.append((Opened(spans[0].key, first, last), made_of))
    return after


def at(batch: list[Event], numbers: Sequence[int]) -> list[Event]:
    return [batch[number] for number in numbers]


spans = st.tuples(st.integers(-1, 1), st.integers(-30, 30), st.just(0) | st.integers(0, 20))


@settings(max_examples=300)
@given(st.lists(spans, max_size=15), st.integers(1, 15), st.booleans())
def test_a_chain_is_what_can_be_reached_from_span_to_span(
    spans: list[tuple[int, int, int]], gap: int, far_away: bool
) -> None:
    if far_away:  # too far for all keys to lie on one line of time
        spans = [*spans, (2**62, 0, 0)]
    reached = [{number} for number in range(len(spans))]
    for _ in spans:
        reached = [
            {n for n, span in enumerate(spans) if any(near(span, spans[m], gap) for m in chain)}
            for chain in reached
        ]
    columns = [np.array(column, dtype=np.int64) for column in zip(*spans, strict=True)]
    key, first, length = columns or [np.empty(0, dtype=np.int64)] * 3
    of_span, count = chains(key, first, first + length, gap)
    found = [set(np.flatnonzero(of_span == chain).tolist()) for chain in of_span]
    assert found == reached
    assert set(of_span.tolist()) == set(range(count))


@pytest.mark.parametrize("far_away", [False, True])
def test_a_long_span_reaches_past_a_short_one(far_away: bool) -> None:
    #   gap 10     0    5    10   15   20   25   30
    #   spans      [-------------------]
    #                   []                  |
    spans = [(1, 0, 20), (1, 5, 6), (1, 25, 25), *([(2**62, 0, 0)] if far_away else [])]
    key, first, last = (np.array(column) for column in zip(*spans, strict=True))
    of_span, _ = chains(key, first, last, 10)
    assert of_span.tolist()[:3] == [0, 0, 0]


def near(one: tuple[int, int, int], other: tuple[int, int, int], gap: int) -> bool:
    (key, first, length), (key2, first2, _) = sorted([one, other])
    return key == key2 and first2 - (first + length) < gap


def test_a_long_history_is_judged_as_one_by_one() -> None:
    random = np.random.default_rng(5)
    events, watermark = [], -(10**9)
    for now in np.cumsum(random.integers(0, 8, 3_000)).tolist():
        time = now - int(random.integers(0, 90))
        watermark = max(watermark, time - 20)
        events.append(Event(int(random.integers(0, 4)), time, watermark))
    for rules in (Rules(10, 0), Rules(25, 5), Rules(25, 5, 60)):
        sessions, late = judged(rules, [], events)
        assignment = assigned(rules, [], events)
        assert members(assignment) == {frozenset(session.members) for session in sessions}
        assert lateness(assignment) == late
        assert len(late) > 20
        assert len(sessions) > 20
