"""Keyed processors do the same however their records are cut, interleaved, evicted or restarted."""

from __future__ import annotations

from hypothesis import given, settings

from tests.unit.keyed_driver import MemoryStore
from tests.unit.keyed_trials import TRIALS, Trial, check, run


@given(TRIALS)
@settings(max_examples=200)
def test_handlers_and_timers_run_as_in_the_reference(trial: Trial) -> None:
    check(trial, run(trial, MemoryStore()))
