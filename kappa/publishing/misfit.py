"""A value that does not fit."""

from __future__ import annotations

_SHOWN = 60


class Misfit(Exception):
    """A value that does not fit its type; ``path`` leads to it inside the column."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def quoted(value: object) -> str:
    """A value in a message, cut if long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
