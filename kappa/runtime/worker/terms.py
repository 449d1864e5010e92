"""What a tenure is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kappa.config import KafkaSettings
from kappa.errors import DatabaseUnavailable
from kappa.processing.dead_letter_limit import DeadLetterLimit
from kappa.runtime.worker.checkpoint import LogEnds
from kappa.runtime.worker.job import Rhythm
from kappa.tables.layout import Layout
from kappa.tables.remerge import Remerge


@dataclass(frozen=True)
class Terms:
    """What does not change during a tenure.

    Attributes:
        building: whether rows are appended to a table without keys, or merged into one.
        limit: how many dead letters the version goes on with.
        ends: up to where the version's partitions are being read, whoever does, and which of
            them may be silent; asked at every checkpoint. None while nobody knows.
        patience_s: how long a commit waits for a database that is lost.
        on_lost: hears each time that it is found to be.
        sets_aside: whether a partition whose schema is not registered waits for it while the
            others go on; else the tenure ends with the error.
    """

    kafka: KafkaSettings
    layout: Layout
    remerge: Remerge | None
    building: bool
    limit: DeadLetterLimit
    rhythm: Rhythm
    ends: Callable[[], LogEnds | None]
    patience_s: float
    on_lost: Callable[[DatabaseUnavailable], None] = lambda lost: None
    sets_aside: bool = False
