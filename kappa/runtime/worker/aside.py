"""Partitions that wait for a schema while the others of their worker go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kappa.errors import UnknownSchema

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0


@dataclass(frozen=True)
class _Pause:
    error: UnknownSchema
    pause_s: float
    until: float


class Aside:
    """Which partitions wait, and until when: a little longer each time. Times are in seconds.

    Other threads may look at ``errors``.
    """

    def __init__(self) -> None:
        self._pauses: dict[int, _Pause] = {}

    def put(self, partition: int, error: UnknownSchema, now: float) -> None:
        """Its next record cannot be read for now."""
        before = self._pauses.get(partition)
        pause_s = _FIRST_PAUSE_S if before is None else min(2 * before.pause_s, _LONGEST_PAUSE_S)
        self._pauses = {**self._pauses, partition: _Pause(error, pause_s, now + pause_s)}

    def take_back(self, partition: int) -> None:
        """It has got on, if it has waited at all."""
        if partition in self._pauses:
            self._pauses = {n: pause for n, pause in self._pauses.items() if n != partition}

    def waits(self, partition: int, now: float) -> bool:
        """Whether it is to be left alone at ``now``."""
        pause = self._pauses.get(partition)
        return pause is not None and now < pause.until

    @property
    def errors(self) -> Mapping[int, UnknownSchema]:
        """What each partition that waits lacks."""
        return {partition: pause.error for partition, pause in self._pauses.items()}
