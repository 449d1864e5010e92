"""Which records count: event time present and believable, values that can be stored.

A refused record is a dead letter and moves no watermark. The rule looks at the record alone,
so that it is the same in every replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.events import NO_DEAD
from kappa.processing.source import Source

Storable = Callable[[pl.DataFrame], Iterable[tuple[int, str]]]
"""Names the rows the table store could not hold: (position in the frame, why)."""


def anything(frame: pl.DataFrame) -> Iterable[tuple[int, str]]:
    """A table store that holds every value."""
    return ()


EARLIEST_MS = -62_135_596_800_000
LATEST_MS = 253_402_300_799_999
"""The years 0001 to 9999, which every part of the system can write and read as text."""


def event_time(source: Source, schema: pl.Schema, *, where: str) -> pl.Expr:
    """The source's event time as Int64 ms, named ``@event_time``.

    Raises:
        DeclarationError: no such column, or one that is no point in time.
    """
    column = source.event_time
    if column is None:
        raise DeclarationError(
            f"{where}: the source {source.topic!r} has no event time",
            hint='declare it: Source(…, event_time="placed_at")',
        )
    dtype = schema.get(column)
    if dtype is None:
        raise DeclarationError(
            f"{where}: the event time {column!r} is no column of {source.topic!r}",
            hint="its columns are " + ", ".join(schema),
        )
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[dtype.time_unit]
        ticks = pl.col(column).to_physical()
        return (ticks if per_ms == 1 else ticks // per_ms).alias("@event_time")
    if dtype == pl.Int64:
        return pl.col(column).alias("@event_time")
    raise DeclarationError(
        f"{where}: the event time {column!r} is of type {dtype}",
        hint="use an Avro timestamp, or a long of milliseconds since the epoch",
    )


def time_refusals(source: Source) -> list[Refusal]:
    """Why a record's ``@event_time`` may be refused."""
    time = pl.col("@event_time")
    return [
        Refusal(time.is_null(), "the event time is null"),
        Refusal(
            time > pl.col("@timestamp") + source.max_ahead_ms,
            f"the event time is more than {source.max_ahead} ahead of the record's timestamp",
        ),
        Refusal(
            ~time.is_between(EARLIEST_MS, LATEST_MS), "the event time is outside the years 1-9999"
        ),
    ]


def admit(
    frame: pl.DataFrame,
    refusals: Sequence[Refusal],
    stored: Sequence[str],
    storable: Storable,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits ``frame`` (with ``@offset``) into the records that pass and dead letters.

    ``stored`` names the columns whose values reach the table as they are.
    """
    reason = _first_reason(frame, refusals)
    unstorable = dict(storable(frame.select(stored)))
    if reason is None and not unstorable:
        return frame, NO_DEAD
    if reason is None:
        reason = pl.Series([None], dtype=pl.String).new_from_index(0, len(frame))
    if unstorable:
        texts = pl.Series([unstorable.get(row) for row in range(len(frame))], dtype=pl.String)
        reason = reason.zip_with(reason.is_not_null(), texts)
    letters = frame.select(
        "@offset",
        pl.lit("Refused").alias("error_class"),
        reason.alias("message"),
        pl.lit(None, pl.String).alias("stack"),
        pl.lit(None, pl.String).alias("timer"),
    )
    return frame.filter(reason.is_null()), letters.filter(reason.is_not_null())


def _first_reason(frame: pl.DataFrame, refusals: Sequence[Refusal]) -> pl.Series | None:
    """Per record the first refusal that holds for it; None if there is none at all."""
    flags = frame.select(
        r.condition.fill_null(False).alias(str(number)) for number, r in enumerate(refusals)
    )
    bad = [number for number in range(len(refusals)) if flags[str(number)].any()]
    if not bad:
        return None
    return flags.select(
        pl.coalesce(pl.when(pl.col(str(n))).then(pl.lit(refusals[n].message)) for n in bad).alias(
            "reason"
        )
    )["reason"]
