"""Dates, times and timestamps as the whole numbers Avro stores."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

from kappa.publishing.misfit import Misfit, quoted

NANOSECONDS = {"millis": 1_000_000, "micros": 1_000, "nanos": 1}
"""Nanoseconds of the units in the names of logical types."""

DAY_NS = 86_400_000_000_000

_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1)
_FRACTION = re.compile(r"[.,]\d{6}(\d{1,3})(?!\d)")


def unit_ns(logical: str) -> int:
    """Nanoseconds of the unit in a logical type's name, as in ``timestamp-millis``."""
    return NANOSECONDS[logical.rpartition("-")[2]]


def physical(value: object, logical: str) -> int:
    """A Python or ISO 8601 date, time or timestamp in the type's unit, rounded down.

    Raises:
        Misfit: it is none, or has an offset where the type has none.
    """
    if logical == "date":
        return _days(value)
    ns = _time_of_day(value) if logical.startswith("time-") else _since_1970(value, logical)
    return ns // unit_ns(logical)


def require_time_of_day(number: int, logical: str) -> None:
    """A time is less than a day.

    Raises:
        Misfit: it is not.
    """
    if not 0 <= number * unit_ns(logical) < DAY_NS:
        raise Misfit(f"{number} is not within a day")


def _days(value: object) -> int:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise Misfit(f"{quoted(value)} is no ISO 8601 date") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Misfit(f"{quoted(value)} is no date")
    return (value - _EPOCH_DAY).days


def _time_of_day(value: object) -> int:
    extra = 0
    if isinstance(value, str):
        extra = _beyond_micros(value)
        try:
            value = time.fromisoformat(value)
        except ValueError:
            raise Misfit(f"{quoted(value)} is no ISO 8601 time") from None
    if not isinstance(value, time):
        raise Misfit(f"{quoted(value)} is no time")
    if value.tzinfo is not None:
        raise Misfit("a time of day has no offset")
    return _ns(datetime.combine(_EPOCH_DAY, value)) + extra


def _since_1970(value: object, logical: str) -> int:
    extra = 0
    if isinstance(value, str):
        extra = _beyond_micros(value)
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Misfit(f"{quoted(value)} is no ISO 8601 timestamp") from None
    if not isinstance(value, datetime):
        raise Misfit(f"{quoted(value)} is no timestamp")
    if value.tzinfo is not None:
        if logical.startswith("local-"):
            raise Misfit("a local timestamp has no offset")
        try:
            value = value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            raise Misfit(f"{value} is out of range") from None
    return _ns(value) + extra


def _ns(moment: datetime) -> int:
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _beyond_micros(text: str) -> int:
    """The nanoseconds that Python's parser drops."""
    digits = _FRACTION.search(text)
    return int(digits.group(1).ljust(3, "0")) if digits else 0
