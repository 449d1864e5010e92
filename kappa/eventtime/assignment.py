"""Which session each record belongs to.

Records are judged one after the other, but for most of them the order makes no difference.
Where all of a chain's records come in time, every session that one of them is near to is open,
so that they become one session in any order: the chain. Only chains with records that are
further behind, or that are too long for one session, are gone through record by record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kappa.eventtime.chains import Numbers, chains
from kappa.eventtime.judging import LATE, Judge

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OpenSessions:
    """Sessions that were not closed when last looked at, in any order.

    Attributes:
        key: a number for the key of each.
        first, last: event times of its first and last record, ms.
    """

    key: Numbers
    first: Numbers
    last: Numbers


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """Records; those of one key in the order in which they arrived.

    Attributes:
        key: a number for the key of each, as in the open sessions.
        time: its event time, ms.
        watermark: its partition's watermark with the record itself counted, ms.
    """

    key: Numbers
    time: Numbers
    watermark: Numbers


@dataclass(frozen=True, slots=True)
class Assignment:
    """Sessions by number, 0 to ``count - 1``. Open sessions of one number were merged.

    Attributes:
        of_open: the session each open session is part of now.
        of_event: the session each record belongs to; -1 where it is late.
        late_by: where it is late, how many ms ago its window had closed; 0 elsewhere.
        count: the number of sessions.
    """

    of_open: Numbers
    of_event: Numbers
    late_by: Numbers
    count: int


def assign(
    open: OpenSessions,
    events: SessionEvents,
    gap_ms: int,
    lateness_ms: int,
    max_length_ms: int | None = None,
) -> Assignment:
    """The session of each record, judged one after the other in the order of arrival.

    A session is closed for a record once the record's watermark has reached the session's last
    event time plus gap and lateness. A record joins the open sessions it is less than a gap
    away from and makes them one, as long as no more than ``max_length_ms`` lies between first
    and last, earlier sessions before later ones. A record that joins none begins a session,
    unless that session would be closed already: then it is late.
    """
    first, last = _joined(open.first, events.time), _joined(open.last, events.time)
    chain, count = chains(_joined(open.key, events.key), first, last, gap_ms)
    of_open, of_event = np.split(chain, [len(open.key)])
    unsure = _near_each_other(open, of_open, count, gap_ms)
    unsure[of_event[events.watermark > events.time + lateness_ms]] = True
    if max_length_ms is not None:
        unsure |= _lengths(chain, count, first, last) > max_length_ms
    if not unsure.any():
        return Assignment(of_open, of_event, np.zeros_like(events.time), count)

    overdue = events.watermark - (events.time + gap_ms + lateness_ms)
    in_time = np.zeros(count, dtype=np.bool_)  # a chain without any such record is late as a whole
    in_time[of_open] = in_time[of_event[overdue < 0]] = True
    judged_open = np.flatnonzero(unsure[of_open])
    judged = np.flatnonzero((unsure & in_time)[of_event])
    judged = judged[np.argsort(of_event[judged], kind="stable")]
    judge = Judge(gap_ms, lateness_ms, math.inf if max_length_ms is None else max_length_ms)
    opened = judge.open(_rows(judged_open, of_open, open.first, open.last))
    number_of = judge.judge(_rows(judged, of_event, events.time, events.watermark), opened)
    sessions, count = _settled(judge.part_of)

    sure = np.where(unsure, LATE, np.cumsum(~unsure) - 1 + count)
    of_open, of_event = sure[of_open], sure[of_event]
    of_open[judged_open] = sessions[: len(judged_open)]
    of_event[judged] = np.append(sessions, LATE)[number_of]
    late_by = np.where(of_event == LATE, overdue, 0)
    return Assignment(of_open, of_event, late_by, count + int(np.count_nonzero(~unsure)))


def _joined(open: Numbers, events: Numbers) -> Numbers:
    return np.concatenate((open, events)) if len(open) else events


def _near_each_other(open: OpenSessions, of_open: Numbers, count: int, gap_ms: int) -> Flags:
    """Per chain whether it has open sessions less than a gap apart, which stay what they are."""
    flags = np.zeros(count, dtype=np.bool_)
    among, links = chains(open.key, open.first, open.last, gap_ms)
    if links < len(among):
        flags[of_open[np.bincount(among)[among] > 1]] = True
    return flags


def _lengths(chain: Numbers, count: int, first: Numbers, last: Numbers) -> Numbers:
    """How far it is from the first to the last event time of each chain, ms."""
    int64 = np.iinfo(np.int64)
    begin, end = np.full(count, int64.max), np.full(count, int64.min)
    np.minimum.at(begin, chain, first)
    np.maximum.at(end, chain, last)
    length: Numbers = end - begin
    return length


def _rows(index: Numbers, *columns: Numbers) -> Iterator[tuple[int, int, int]]:
    """The columns' values in the rows of these numbers."""
    a, b, c = (column[index].tolist() for column in columns)
    return zip(a, b, c, strict=True)


def _settled(part_of: list[int]) -> tuple[Numbers, int]:
    """The session each one has become part of in the end, numbered anew, and how many remain."""
    root = np.array(part_of, dtype=np.int64)
    while (root[root] != root).any():
        root = root[root]
    remaining, number = np.unique(root, return_inverse=True)
    return number, len(remaining)
