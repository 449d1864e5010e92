"""Folds records into sessions: windows that last as long as records keep coming.

Records gather until a flush and are then put into sessions all at once, together with the
sessions still open. Each session that changed is a row; a row whose session was joined to
another, or now begins earlier, is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from kappa.eventtime.sessions import (
    Assignment,
    OpenSessions,
    Session,
    SessionEvents,
    assign,
)
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import EARLIEST_MS
from kappa.processing.aggregates.kept import Kept
from kappa.processing.events import Changes, Events, Outcome
from kappa.processing.expressions import INSTANT
from kappa.processing.store import Store
from kappa.processing.windowed.corrections import APPLIED, ENDED
from kappa.processing.windowed.grouping import COMPACT_AT_ROWS
from kappa.processing.windowed.late import late_rows
from kappa.processing.windowed.lifting import MOST_PARTITIONS, Lifting

VERDICT = "session_closed"

FOUNDER = "_founder"
"""The hidden column that tells sessions of one key and start apart: the least offset of a
session's records. A record so late that it only reaches a later session takes that session's
start back, perhaps to where a closed one began."""

_PLACE = pl.Schema(
    {
        "@first": pl.Int64(),
        "@last": pl.Int64(),
        "@partition": pl.Int32(),
        "@founder": pl.Int64(),
        "@offset": pl.Int64(),
    }
)
_CHANGE = pl.Schema({APPLIED: pl.Int64(), ENDED: pl.Int64(), "_deleted": pl.Boolean()})
"""What a flushed row says of its change."""

_WHEN = pl.Schema(
    {
        "window_start": INSTANT,
        "window_end": INSTANT,
        "_partition": pl.Int32(),
        FOUNDER: pl.Int64(),
        "_offset": pl.Int64(),
    }
)


@dataclass(frozen=True)
class _Placed:
    """Records and open sessions with the session each ended up in (``@session``)."""

    open: pl.DataFrame
    records: pl.DataFrame
    late: pl.DataFrame


class SessionFold:
    """Folds batches of any partition into sessions per key."""

    one_by_one = False

    def __init__(
        self,
        lifting: Lifting,
        session: Session,
        allowed_lateness: int,
        out_of_orderness: int,
        keys: pl.Schema,
        kept: Kept,
        store: Store,
    ) -> None:
        self._lifting = lifting
        self._session = session
        self._allowed_lateness = allowed_lateness
        self._out_of_orderness = out_of_orderness
        self._keys = list(keys)
        self._kept = kept
        self._store = store
        self._topic = ""
        self._clocks: dict[int, PartitionClock] = {}
        self._open = pl.DataFrame(schema=pl.Schema({**keys, **_PLACE, **kept.schema}))
        self._pending: list[pl.DataFrame] = []
        self.reads = lifting.reads
        self.reads_keys = lifting.reads_keys

    @property
    def open_sessions(self) -> int:
        """How many sessions are kept because a record could still reach them."""
        return len(self._open)

    @property
    def full(self) -> bool:
        return sum(map(len, self._pending)) > COMPACT_AT_ROWS

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        self._topic = events.topic
        if events.partition not in self._clocks:
            self._resume(events.partition, clock)
        lifted = self._lifting.lift(events, clock)
        self._clocks[events.partition] = lifted.clock
        if len(lifted.frame):
            partition = pl.lit(events.partition, pl.Int32).alias("@partition")
            self._pending.append(
                lifted.frame.with_columns(lifted.watermark.alias("@watermark"), partition)
            )
        return Outcome(clock=lifted.clock, dead=lifted.dead, filtered=len(events.tombstones))

    def flush(self) -> Changes:
        if not self._pending:
            nothing = [pl.lit(None, dtype).alias(name) for name, dtype in _CHANGE.items()]
            return Changes(self._rows(self._open.clear().with_columns(nothing)))
        records = pl.concat(self._pending)
        self._pending = []
        placed = self._place(records)
        changed, replaced = self._changed(placed)
        touched = placed.open["@session"].is_in(changed["@session"].implode())
        columns = self._open.columns
        kept = pl.concat([placed.open.filter(~touched).select(columns), changed.select(columns)])
        self._open = kept.filter(self._still_open(kept))
        written = pl.concat(
            [
                replaced.select(*columns, APPLIED, ENDED, _deleted=pl.lit(True)),
                changed.select(*columns, APPLIED, ENDED, _deleted=pl.lit(False)),
            ]
        )
        late = None
        if len(placed.late):
            late = late_rows(placed.late, self._topic, pl.col("@partition"), VERDICT, self._keys)
        return Changes(self._rows(written), late)

    def settled(self) -> None:
        """What was flushed is kept as long as its sessions are open, whether settled or not."""

    def _resume(self, partition: int, clock: PartitionClock) -> None:
        """Takes up the sessions that were open when the partition was last committed."""
        self._clocks[partition] = clock
        horizon = self._horizon(clock)
        if horizon is None:
            return
        stored = self._store.open_rows(partition, horizon, self._stored_schema())
        if stored.is_empty():
            return
        place = stored.select(
            *self._keys,
            pl.col("window_start").to_physical().alias("@first"),
            (pl.col("window_end").to_physical() - self._session.gap_ms).alias("@last"),
            pl.col("_partition").alias("@partition"),
            pl.col(FOUNDER).alias("@founder"),
            pl.col("_offset").alias("@offset"),
        )
        resumed = pl.concat([place, self._kept.restored(stored)], how="horizontal")
        self._open = pl.concat([self._open, resumed.select(self._open.columns)])

    def _stored_schema(self) -> pl.Schema:
        """The table's columns, without those that sessions are not made of."""
        keys = {name: self._open.schema[name] for name in self._keys}
        return pl.Schema({**keys, **_WHEN, **self._kept.stored_schema})

    def _horizon(self, clock: PartitionClock) -> int | None:
        """Sessions that end (last record plus gap) by then are closed; None: nothing is."""
        if clock.max_event_time is None:
            return None
        watermark = clock.max_event_time - self._out_of_orderness
        return max(watermark - self._allowed_lateness, EARLIEST_MS)

    def _place(self, records: pl.DataFrame) -> _Placed:
        # One key in two partitions, as a topic that grew may have it, is two keys.
        codes = _codes([self._open, records], self._keys)
        opened = self._open.with_columns(codes[: len(self._open)].alias("@key_code"))
        records = records.with_columns(codes[len(self._open) :].alias("@key_code"))
        assignment = self._assign(opened, records)
        records = records.with_columns(pl.Series("@session", assignment.of_event))
        late = records["@session"] < 0
        overdue = pl.Series("@by", assignment.late_by)
        return _Placed(
            open=opened.with_columns(pl.Series("@session", assignment.of_open)),
            records=records.filter(~late) if late.any() else records,
            late=records.with_columns(overdue).filter(late) if late.any() else records.clear(),
        )

    def _assign(self, opened: pl.DataFrame, records: pl.DataFrame) -> Assignment:
        return assign(
            OpenSessions(
                key=opened["@key_code"].to_numpy(),
                first=opened["@first"].to_numpy(),
                last=opened["@last"].to_numpy(),
            ),
            SessionEvents(
                key=records["@key_code"].to_numpy(),
                time=records["@event_time"].to_numpy(),
                watermark=records["@watermark"].to_numpy(),
            ),
            self._session.gap_ms,
            self._allowed_lateness,
            self._session.max_length_ms,
        )

    def _changed(self, placed: _Placed) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The sessions that records went into, and the rows that no longer are one."""
        gathered = (
            placed.records.lazy()
            .group_by("@session")
            .agg(
                pl.col(*self._keys, "@partition").first(),
                pl.col("@event_time").min().alias("@first"),
                pl.col("@event_time").max().alias("@last"),
                pl.col("@offset").min().alias("@founder"),
                pl.col("@offset").max(),
                pl.len().cast(pl.Int64).alias(APPLIED),
                pl.lit(None, pl.Int64).alias(ENDED),
            )
        )
        place = gathered.collect(engine="streaming")
        records = self._kept.of_records(placed.records, ["@session"])
        touched = placed.open.filter(
            pl.col("@session").is_in(place["@session"].implode())
        ).with_columns(
            pl.lit(0, pl.Int64).alias(APPLIED),
            (pl.col("@last") + self._session.gap_ms).alias(ENDED),
        )
        changed = place.join(records, on="@session")
        if len(touched):
            changed = self._joined(pl.concat([changed, touched.select(changed.columns)]))
        now = changed.select(
            "@session",
            pl.struct("@first", "@founder").alias("@now"),
            pl.col("@offset").alias("@at"),
        )
        was = pl.struct("@first", "@founder")
        moved = touched.join(now, on="@session").filter(was != pl.col("@now"))
        return changed, moved.with_columns(pl.col("@at").alias("@offset"))

    def _joined(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """One row per session of rows that are parts of it."""
        place = sessions.group_by("@session").agg(
            pl.col(*self._keys, "@partition").first(),
            pl.col("@first", "@founder").min(),
            pl.col("@last", "@offset").max(),
            pl.col(APPLIED).sum(),
            pl.col(ENDED).min(),
        )
        return place.join(self._kept.again(sessions, ["@session"]), on="@session")

    def _still_open(self, sessions: pl.DataFrame) -> pl.Series:
        horizons = {p: self._horizon(clock) for p, clock in self._clocks.items()}
        horizon = sessions["@partition"].replace_strict(horizons, return_dtype=pl.Int64)
        ends = sessions["@last"] + self._session.gap_ms
        return (ends > horizon).fill_null(True)

    def _rows(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Sessions, with what is said of their change, in the table's columns."""
        when = sessions.select(
            *self._keys,
            pl.col("@first").cast(INSTANT).alias("window_start"),
            (pl.col("@last") + self._session.gap_ms).cast(INSTANT).alias("window_end"),
            pl.col("@partition").alias("_partition"),
            pl.col("@founder").alias(FOUNDER),
            pl.col("@offset").alias("_offset"),
            APPLIED,
            pl.col(ENDED).cast(INSTANT),
            "_deleted",
        )
        return pl.concat([when, self._kept.stored(sessions)], how="horizontal")


def _codes(frames: Sequence[pl.DataFrame], keys: Sequence[str]) -> pl.Series:
    """A number per row of the frames, one after another: equal for equal keys and partitions."""
    rows = pl.concat([frame.select(*keys, "@partition") for frame in frames])
    if len(keys) == 1 and rows.schema[keys[0]] == pl.String:
        text = rows[keys[0]].cast(pl.Categorical).to_physical().cast(pl.Int64)
        return text * MOST_PARTITIONS + rows["@partition"]
    by = [*keys, "@partition"]
    known = rows.unique(maintain_order=False).with_row_index("@code")
    coded = rows.join(known, on=by, how="left", nulls_equal=True, maintain_order="left")
    return coded["@code"].cast(pl.Int64)
