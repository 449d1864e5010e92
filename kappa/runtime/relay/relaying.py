"""What all relays have in common: whose output they send, and one step of sending it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, Engine

from kappa.config import Settings
from kappa.tables import outbox, relays

Tell = Callable[[int, int], None]
"""Hears how many rows were sent and how many were set aside."""


@dataclass(frozen=True)
class Sending:
    """One relay's hold on one output.

    Attributes:
        epoch: the fence: whoever claims the output later has a greater one.
    """

    settings: Settings
    engine: Engine
    processor: str
    output: str
    epoch: int
    stop: threading.Event
    tell: Tell

    def serving(self, conn: Connection) -> int | None:
        """The version that serves; that stays so until COMMIT, and the output ours.

        Raises:
            RelayFenced: the output is another relay's.
        """
        relays.hold(conn, self.processor, self.output, self.epoch)
        return outbox.active_version(conn, self.processor)

    def is_mine(self, conn: Connection, version: int) -> bool:
        """Whether this version still serves; as `serving`."""
        return self.serving(conn) == version


class Channel(Protocol):
    """The way of one version's output to where it goes."""

    def step(self) -> int | None:
        """Sends the next batch; returns its size, or None once another version serves."""
