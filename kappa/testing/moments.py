"""Points in time as tests write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kappa.errors import BadRecord

Moment = str | datetime | int
"""ISO 8601 text, a datetime, or milliseconds since the epoch; without an offset it is UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parsed(value: str | datetime) -> datetime:
    """``value`` in UTC.

    Raises:
        BadRecord: the text is no ISO 8601 timestamp.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadRecord(
                f"{value!r} is no ISO 8601 timestamp", hint='write it as "2024-05-01T10:00:05Z"'
            ) from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def in_ms(moment: Moment) -> int:
    """Milliseconds since the epoch, rounded down.

    Raises:
        BadRecord: the text is no ISO 8601 timestamp.
    """
    if isinstance(moment, int):
        return moment
    return (parsed(moment) - _EPOCH) // timedelta(milliseconds=1)


def moment(ms: int) -> datetime:
    """The moment that many milliseconds after the epoch."""
    return _EPOCH + timedelta(milliseconds=ms)
