"""What every query must come to: DuckDB over the generated bids, which never saw Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import polars as pl

from bench.nexmark.config import Config
from bench.nexmark.generator import blocks
from bench.nexmark.placement import partitions

_TABLE = """
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
                  date_time TIMESTAMP, extra VARCHAR, partition INTEGER, line BIGINT)
"""


@contextmanager
def bids(count: int, config: Config, partition_count: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database whose table ``bid`` has the bids among the first ``count`` events.

    ``date_time`` is in UTC; ``line`` counts the bids in the order they are published.
    """
    with duckdb.connect() as database:
        database.execute(_TABLE)
        line = 0
        for events in blocks(count, config):
            placed = partitions(events.bid["auction"], partition_count).alias("partition")
            chunk = events.bid.with_columns(
                pl.col("dateTime").dt.replace_time_zone(None),
                placed,
                pl.int_range(line, line + pl.len()).alias("line"),
            )
            line += len(chunk)
            database.register("chunk", chunk.to_arrow())
            database.execute("INSERT INTO bid SELECT * FROM chunk")
        database.unregister("chunk")
        yield database
