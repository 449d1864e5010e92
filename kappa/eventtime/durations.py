"""Durations as people write them (``"5s"``, ``"1h30m"``) as integer milliseconds."""

from __future__ import annotations

import re
from datetime import timedelta

from kappa.errors import DeclarationError

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_WHOLE = re.compile(r"(?:\d+(?:ms|[smhdw]))+")

_LONGEST_MS = 10_000 * 366 * 86_400_000
"""Longer than from year 1 to 9999, and sums of a few are far from what 64 bits hold."""

Duration = str | int | timedelta
"""Text such as ``"1h30m"`` (units ms, s, m, h, d, w), a timedelta, or milliseconds."""


def milliseconds(duration: Duration, of: str = "") -> int:
    """``duration`` in whole milliseconds.

    ``of`` says in an error which field it is of.

    Raises:
        DeclarationError: it is no duration, no whole number of milliseconds, negative, or longer
            than all dates there are.
    """
    said = f"{of}: {duration!r}" if of else repr(duration)
    value = _whole(duration)
    if value is None:
        raise DeclarationError(
            f"{said} is not a duration",
            hint='write a whole number and a unit of ms, s, m, h, d or w, such as "500ms", "90s" or'
            ' "1h30m"; a number alone is whole milliseconds',
        )
    if value < 0:
        raise DeclarationError(f"{said} is negative", hint="write how long, from zero on")
    if value > _LONGEST_MS:
        raise DeclarationError(f"{said} is beyond all dates", hint="ten thousand years will do")
    return value


def _whole(duration: object) -> int | None:
    """The milliseconds, if there is a whole number of them; nothing is cut off."""
    match duration:
        case timedelta():
            value, rest = divmod(duration, timedelta(milliseconds=1))
            return None if rest else value
        case str() if _WHOLE.fullmatch(duration):
            return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))
        case int() if not isinstance(duration, bool):
            return duration
    return None
