"""Shares and durations as people write them on a command line: ``0.1%``, ``60s``."""

from __future__ import annotations

import re
from decimal import Decimal

from kappa.errors import ConfigError, DeclarationError
from kappa.eventtime.durations import milliseconds

_SHARE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(%?)")


def share_of(text: str) -> float:
    """A share of one: of ``"0.1%"`` it is 0.001, and so it is of ``"0.001"``.

    Raises:
        ConfigError: it is no share.
    """
    found = _SHARE.fullmatch(text.strip())
    share = None if found is None else Decimal(found[1]) / (100 if found[2] else 1)
    if share is None or share > 1:
        raise ConfigError(f"{text!r} is no share of all rows", hint="write 0.1%, or 0.001")
    return float(share)


def percent(share: float) -> str:
    """A share in percent, so precise that what is not zero is not shown as zero."""
    hundredfold = 100 * share
    if hundredfold in (0.0, 100.0):
        return f"{hundredfold:.0f}%"
    shown = f"{hundredfold:.3f}%" if hundredfold >= 0.001 else f"{hundredfold:.1e}%"
    return "99.999%" if shown == "100.000%" else shown


def seconds_of(text: str) -> float:
    """A duration such as ``"60s"`` or ``"1m30s"`` in seconds.

    Raises:
        ConfigError: it is no duration.
    """
    try:
        return milliseconds(text) / 1000
    except DeclarationError as error:
        raise ConfigError(error.message, hint=error.hint) from None
