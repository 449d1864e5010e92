"""Every way to cut event time, as it is declared and as it is looked up the slow way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from kappa import Hopping, Session, Sliding, Tumbling
from kappa.processing.windowed.declaration import Window
from tests.properties import reference
from tests.properties.calendar import days, hopping
from tests.properties.reference import Expected, Place, Record, Times, WindowsOf

Expecting = Callable[[Collection[Record], Times, Collection[Place]], Expected]


@dataclass(frozen=True)
class WindowCase:
    """One way to declare a window.

    Attributes:
        label: the kind; several cases may be of one.
        declared: what a processor declares.
        expecting: what becomes of records.
        origin, step: event times are so many steps after the origin, ms.
        of_keys: whether all records of a key must lie in one partition.
    """

    label: str
    declared: Window | None
    expecting: Expecting
    origin: int = 0
    step: int = 1
    of_keys: bool = False


def _grid(label: str, declared: Window, windows_of: WindowsOf) -> WindowCase:
    return WindowCase(label, declared, partial(reference.aligned, windows_of=windows_of))


def _calendar(label: str, declared: Window, windows_of: WindowsOf, around: str) -> WindowCase:
    noon = datetime.fromisoformat(around).replace(tzinfo=UTC, hour=12)
    return WindowCase(
        label,
        declared,
        partial(reference.aligned, windows_of=windows_of),
        origin=int(noon.timestamp()) * 1000,
        step=30 * 60_000,
    )


def _sessions(label: str, gap: int, max_length: int | None) -> WindowCase:
    expecting = partial(reference.sessions, gap=gap, max_length=max_length)
    return WindowCase(label, Session(gap, max_length), expecting, of_keys=True)


BERLIN, SAO_PAULO, APIA = "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"
"""Berlin's clocks change at night, Sao Paulo's did at midnight; Apia left 2011-12-30 out."""

CASES = [
    WindowCase("none", None, reference.without_window),
    _grid("tumbling", Tumbling(10), hopping(10, 10)),
    _grid("tumbling", Tumbling(7, offset=3), hopping(7, 7, 3)),
    _grid("hopping", Hopping(10, 5), hopping(10, 5)),
    _grid("hopping", Hopping(12, 3, offset=2), hopping(12, 3, 2)),
    _grid("hopping by no divisor", Hopping(10, 4), hopping(10, 4)),
    _grid("hopping by no divisor", Hopping(11, 7, offset=5), hopping(11, 7, 5)),
    _grid("hopping with gaps", Hopping(6, 10), hopping(6, 10)),
    _grid("hopping with gaps", Hopping(3, 5, offset=4), hopping(3, 5, 4)),
    _grid("sliding", Sliding(12, 4), hopping(12, 4)),
    _grid("sliding", Sliding(6, 1), hopping(6, 1)),
    _calendar("days", Tumbling("1d", zone=BERLIN), days(BERLIN, 1, 1), "2024-03-30"),
    _calendar("days", Tumbling("1d", zone=SAO_PAULO), days(SAO_PAULO, 1, 1), "2018-11-03"),
    _calendar("days", Tumbling("1d", zone=APIA), days(APIA, 1, 1), "2011-12-29"),
    _calendar("days", Tumbling("7d", "4d", zone=BERLIN), days(BERLIN, 7, 7, 4), "2024-10-27"),
    _calendar("hopping days", Hopping("3d", "1d", zone=BERLIN), days(BERLIN, 3, 1), "2024-10-26"),
    _calendar("hopping days", Hopping("3d", "2d", zone=APIA), days(APIA, 3, 2), "2011-12-28"),
    _calendar("hopping days", Hopping("1d", "2d", zone=BERLIN), days(BERLIN, 1, 2), "2024-03-31"),
    _calendar("sliding days", Sliding("2d", "1d", zone=BERLIN), days(BERLIN, 2, 1), "2024-03-30"),
    _calendar("sliding days", Sliding("4d", "2d", zone=APIA), days(APIA, 4, 2), "2011-12-29"),
    _sessions("sessions", 6, None),
    _sessions("sessions", 3, None),
    _sessions("sessions of bounded length", 6, 9),
    _sessions("sessions of bounded length", 5, 4),
]  # fmt: skip
