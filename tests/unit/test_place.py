"""A place on a host: what was asked of one process is not asked of the next."""

from __future__ import annotations

import time

import pytest

from kappa.errors import KappaError
from kappa.runtime.live import place
from kappa.runtime.live.place import Place
from kappa.runtime.processes import Child, Desk
from tests.faults import wait_until


def rest(_: object, desk: Desk) -> None:
    """Does nothing until it is told to stop."""
    desk.send("at rest")
    desk.stopping.wait()


class Bench(Place):
    """A place for somebody who rests."""

    def __str__(self) -> str:
        return "a bench"

    def _started(self) -> Child:
        return Child(rest, None)

    def _told(self, message: object) -> None:
        self._well()

    def _failed(self, error: KappaError, again_in_s: float) -> None:
        """Nobody hears of it."""

    def _ended(self) -> None:
        """Nor of that."""


def test_a_place_that_is_wanted_again_keeps_its_new_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, "GRACE_S", 3.0)
    bench = Bench()
    bench.fill()
    bench.hear()
    bench.dismiss()
    dismissed = time.monotonic()
    assert bench.is_leaving
    while bench.child is not None:
        bench.hear()
    assert bench.is_leaving, "it left because it was asked to, and nobody has come since"
    bench.fill()
    bench.hear()
    assert bench.settled
    assert not bench.is_leaving
    wait_until("the first one's time is over", lambda: time.monotonic() - dismissed > 3.0)
    bench.look_after()
    assert bench.child is not None
    bench.abandon()
