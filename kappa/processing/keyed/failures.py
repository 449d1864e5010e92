"""Handlers that raised, as dead letters."""

from __future__ import annotations

import hashlib
import traceback

import polars as pl

from kappa.processing.events import DEAD_SCHEMA
from kappa.processing.keyed.timers import EVENT

_LONGEST_MESSAGE = 2_000
_LONGEST_STACK = 20_000
_LONGEST_KEY = 200


class Failures:
    """The dead letters of one batch, in the order in which handlers raised."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, str, str, str | None]] = []

    def add(self, offset: int, error: Exception, timer: str | None) -> None:
        """``offset`` is of the record at hand, or the one that made ``timer`` fire."""
        self._rows.append(
            (
                offset,
                type(error).__name__,
                _sound(_message(error))[:_LONGEST_MESSAGE],
                _sound(_stack(error))[-_LONGEST_STACK:],
                timer,
            )
        )

    def collect(self) -> pl.DataFrame:
        """The dead letters added since the last time (DEAD_SCHEMA)."""
        rows, self._rows = self._rows, []
        return pl.DataFrame(rows, schema=DEAD_SCHEMA, orient="row")


def timer_text(kind: int, name: str, key: str, at: int) -> str:
    """Which timer it was, in words; long keys by their beginning and their digest."""
    of = "event" if kind == EVENT else "processing"
    if len(key) > _LONGEST_KEY:
        key = f"{key[:_LONGEST_KEY]}… {hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return f"{of}-time timer {name!r} of {key!r} at {at}"


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception of a handler may fail at this too
        return ""


def _stack(error: Exception) -> str:
    """The stack from the handler on, without what called it."""
    called = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.format_exception(type(error), error, called))


def _sound(text: str) -> str:
    """Halves of characters, which have no UTF-8, become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()
