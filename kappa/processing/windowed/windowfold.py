"""Folds records into partials per key and window, for windows that lie on a grid.

Records are grouped by pane, the slice between two window borders, so that a record is touched
once however many windows it belongs to. When they are flushed, each pane goes into its windows.
"""

from __future__ import annotations

import polars as pl

from kappa.eventtime.lateness import overdue
from kappa.eventtime.watermark import PartitionClock
from kappa.eventtime.windows import Aligned
from kappa.processing.aggregates.kept import Kept
from kappa.processing.events import Changes, Events, Outcome
from kappa.processing.expressions import INSTANT
from kappa.processing.windowed.corrections import APPLIED
from kappa.processing.windowed.grouping import Grouping
from kappa.processing.windowed.late import late_rows
from kappa.processing.windowed.lifting import Lifted, Lifting

VERDICT = "window_closed"


class WindowFold:
    """Folds batches of any partition into partials per key and window.

    ``window`` None puts all of time into one window that never closes and has no columns.
    """

    one_by_one = False

    def __init__(
        self,
        lifting: Lifting,
        window: Aligned | None,
        allowed_lateness: int,
        keys: pl.Schema,
        kept: Kept,
    ) -> None:
        self._lifting = lifting
        self._window = window
        self._allowed_lateness = allowed_lateness
        self._keys = list(keys)
        self._kept = kept
        self._panes = 0 if window is None else window.panes_per_window
        slots = ["@window", "@first"][: 1 if self._panes == 1 else 2] if self._panes else []
        self._group = pl.Schema({**keys, **dict.fromkeys(slots, pl.Int64())})
        self._grouping = Grouping(self._group, kept)
        self._late: list[pl.DataFrame] = []
        self.reads = lifting.reads
        self.reads_keys = lifting.reads_keys

    @property
    def full(self) -> bool:
        return False

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        lifted = self._lifting.lift(events, clock)
        placed, outside = lifted.frame, 0
        if self._window is not None:
            placed, outside = self._placed(self._window, events, lifted)
        self._grouping.hold(placed)
        return Outcome(
            clock=lifted.clock, dead=lifted.dead, filtered=len(events.tombstones) + outside
        )

    def flush(self) -> Changes:
        late, self._late = self._late, []
        return Changes(self._rows(), pl.concat(late) if late else None)

    def settled(self) -> None:
        """Nothing is kept of what was flushed."""

    def _placed(self, window: Aligned, events: Events, lifted: Lifted) -> tuple[pl.DataFrame, int]:
        """The records with the pane they go to, and how many lie in no window at all."""
        frame, watermark = lifted.frame, lifted.watermark
        time = frame["@event_time"]
        end = window.last_end(time)
        slots = [window.pane(time).alias("@window")]
        if self._panes > 1:
            slots.append(_first_open(window, slots[0], watermark - self._allowed_lateness))
        placed = frame.with_columns(slots)
        by = overdue(end, watermark, self._allowed_lateness)
        late = by >= 0
        outside = end.null_count()
        if outside:
            late = late.fill_null(False)
        if late.any():
            self._late.append(self._late_rows(events, placed, watermark, by, late))
        if outside or late.any():
            placed = placed.filter(~late & end.is_not_null())
        return placed, outside

    def _late_rows(
        self,
        events: Events,
        placed: pl.DataFrame,
        watermark: pl.Series,
        by: pl.Series,
        late: pl.Series,
    ) -> pl.DataFrame:
        judged = placed.select("@offset", "@event_time", *self._keys).with_columns(
            watermark.alias("@watermark"), by.alias("@by")
        )
        partition = pl.lit(events.partition)
        return late_rows(judged.filter(late), events.topic, partition, VERDICT, self._keys)

    def _rows(self) -> pl.DataFrame:
        merged = self._grouping.take()
        if self._panes > 1:
            assert self._window is not None
            merged = self._kept.again(_spread(merged, self._window), [*self._keys, "@window"])
        place = merged.select(*self._keys, *self._when(merged))
        applied = merged.select(pl.col(f"^{APPLIED}$"))  # where corrections are counted
        return pl.concat([place, applied, self._kept.stored(merged)], how="horizontal")

    def _when(self, merged: pl.DataFrame) -> list[pl.Series]:
        """The columns that say which window a row is of."""
        if self._window is None:
            return []
        start = merged["@window"]
        end = self._window.end(start)
        return [start.cast(INSTANT).alias("window_start"), end.cast(INSTANT).alias("window_end")]


def _first_open(window: Aligned, pane: pl.Series, horizon: pl.Series) -> pl.Series:
    """The first window each record still goes into: that of its pane, unless it is closed."""
    first, still_open = window.first_start(pane), window.first_open(horizon)
    return first.zip_with((first >= still_open).fill_null(True), still_open).alias("@first")


def _spread(panes: pl.DataFrame, window: Aligned) -> pl.DataFrame:
    """Each pane in every window it is part of, from its first open one on."""
    spread = panes.with_columns(window.starts(panes["@window"]).alias("@window"))
    return spread.explode("@window").filter(pl.col("@window") >= pl.col("@first")).drop("@first")
