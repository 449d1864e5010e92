"""Sessions the slow way: every record looks at every session, one record after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kappa.eventtime.sessions import Assignment, OpenSessions, SessionEvents, assign


@dataclass(frozen=True)
class Opened:
    """A session from before."""

    key: int
    first: int
    last: int


@dataclass(frozen=True)
class Event:
    key: int
    time: int
    watermark: int


@dataclass
class Session:
    key: int
    first: int
    last: int
    members: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Rules:
    gap: int
    lateness: int
    max_length: int | None = None


Members = frozenset[str]
"""What a session was made of: ``open 0`` is the first session from before, ``event 0`` a record."""


def judged(
    rules: Rules, opened: Sequence[Opened], events: Sequence[Event]
) -> tuple[list[Session], dict[int, int]]:
    """The sessions after all records, and by how much which of them were late."""
    sessions = [
        Session(o.key, o.first, o.last, {f"open {number}"}) for number, o in enumerate(opened)
    ]
    late: dict[int, int] = {}
    for number, event in enumerate(events):
        joined = None
        for session in sorted(sessions, key=lambda s: (s.first, s.last)):
            if session.key != event.key:
                continue
            if event.watermark >= session.last + rules.gap + rules.lateness:
                continue  # closed
            if not session.first - rules.gap < event.time < session.last + rules.gap:
                continue  # out of reach
            so_far = joined or Session(event.key, event.time, event.time)
            union = Session(
                event.key,
                min(session.first, so_far.first),
                max(session.last, so_far.last),
                session.members | so_far.members,
            )
            if rules.max_length is not None and union.last - union.first > rules.max_length:
                continue
            sessions = [s for s in sessions if s is not session and s is not joined] + [union]
            joined = union
        if joined is None:
            overdue = event.watermark - (event.time + rules.gap + rules.lateness)
            if overdue >= 0:
                late[number] = overdue
                continue
            joined = Session(event.key, event.time, event.time)
            sessions.append(joined)
        joined.members.add(f"event {number}")
    return sessions, late


def assigned(rules: Rules, opened: Sequence[Opened], events: Sequence[Event]) -> Assignment:
    def column(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    return assign(
        OpenSessions(
            column([o.key for o in opened]),
            column([o.first for o in opened]),
            column([o.last for o in opened]),
        ),
        SessionEvents(
            column([e.key for e in events]),
            column([e.time for e in events]),
            column([e.watermark for e in events]),
        ),
        rules.gap,
        rules.lateness,
        rules.max_length,
    )


def members(assignment: Assignment) -> set[Members]:
    """What each session is made of, whatever its number."""
    made: dict[int, set[str]] = {number: set() for number in range(assignment.count)}
    for number, session in enumerate(assignment.of_open.tolist()):
        made[session].add(f"open {number}")
    for number, session in enumerate(assignment.of_event.tolist()):
        if session >= 0:
            made[session].add(f"event {number}")
    return {frozenset(each) for each in made.values()}


def lateness(assignment: Assignment) -> dict[int, int]:
    pairs = zip(assignment.of_event.tolist(), assignment.late_by.tolist(), strict=True)
    return {number: by for number, (session, by) in enumerate(pairs) if session < 0}
