"""For testing processors: events in, rows out, time moved by hand; no broker, no database."""

from kappa.testing.determinism import assert_deterministic
from kappa.testing.driver import Driver
from kappa.testing.handled import Timer
from kappa.testing.topic import Sent

__all__ = ["Driver", "Sent", "Timer", "assert_deterministic"]
