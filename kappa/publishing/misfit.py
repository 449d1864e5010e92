"""A value that does not fit."""

from __future__ import annotations

from typing import NamedTuple

_SHOWN = 60


class Misfit(Exception):
    """A value that does not fit its type; ``path`` leads to it inside the column."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Fault(NamedTuple):
    """A misfit to be kept: an exception would keep the frames it passed, and all they hold."""

    reason: str
    path: str = ""


def quoted(value: object) -> str:
    """A value in a message, cut if long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
