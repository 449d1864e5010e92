"""Durations as people write them (``"5s"``, ``"1h30m"``) as integer milliseconds."""

from __future__ import annotations

import re
from datetime import timedelta

from kappa.errors import DeclarationError

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_WHOLE = re.compile(r"(?:\d+(?:ms|[smhdw]))+")

Duration = str | int | timedelta
"""Text such as ``"1h30m"`` (units ms, s, m, h, d, w), a timedelta, or milliseconds."""


def milliseconds(duration: Duration) -> int:
    """``duration`` in whole milliseconds.

    Raises:
        DeclarationError: the text is no duration, or the value is negative.
    """
    if isinstance(duration, timedelta):
        value = duration // timedelta(milliseconds=1)
    elif isinstance(duration, str):
        if not _WHOLE.fullmatch(duration):
            raise DeclarationError(
                f"{duration!r} is not a duration",
                hint='write a number and a unit of ms, s, m, h, d or w, such as "90s" or "1h30m"',
            )
        value = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))
    else:
        value = int(duration)
    if value < 0:
        raise DeclarationError(f"the duration {duration!r} is negative")
    return value
