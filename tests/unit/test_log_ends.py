"""What may become final by what a broker said of the ends of a topic."""

from __future__ import annotations

from kappa.errors import BrokerUnavailable
from kappa.log.ends import Ends
from kappa.runtime.live.follow import log_ends
from kappa.runtime.worker.checkpoint import LogEnds

PLACES = [("t", 0), ("t", 1), ("t", 2)]


def test_what_was_not_asked_yet_is_not_taken_for_an_empty_log() -> None:
    assert log_ends("t", PLACES, Ends()) is None


def test_old_ends_do_not_count_while_the_broker_is_away() -> None:
    assert log_ends("t", PLACES, Ends({0: 5, 1: 7}, BrokerUnavailable("away"))) is None


def test_only_a_partition_whose_end_is_known_may_be_silent() -> None:
    known = log_ends("t", PLACES, Ends({0: 5, 1: 7}))
    assert known == LogEnds([("t", 0, 5), ("t", 1, 7)], [("t", 0), ("t", 1)])
