"""What DuckDB computes for each query that is built, and why the others are not.

The SQL is over ``bid``, which expected.py fills: the bids as generated, with the partition they
lie in and ``line``, their place in the stream. Within a partition offsets are in the order of
lines, so that (date_time, partition, line) orders as (event time, partition, offset) does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """A query and its equivalent.

    Attributes:
        name: the processor and its view.
        title: what it asks.
        sql: the same in DuckDB; its columns are the view's that are compared.
    """

    name: str
    title: str
    sql: str


@dataclass(frozen=True)
class Missing:
    """A query that is not built, and what it waits for."""

    name: str
    title: str
    waits_for: str


_EUROS = "(price * 0.908)::DECIMAL(23, 3)"
_IN_URL = "regexp_extract(url, '(&|^)channel_id=([^&]*)', 2)"
_HAS_ID = "regexp_matches(url, '(&|^)channel_id=([^&]*)')"

BUILT = (
    Query("nexmark_q0", "pass through", "SELECT auction, bidder, price, date_time, extra FROM bid"),
    Query(
        "nexmark_q1",
        "currency conversion",
        f"SELECT auction, bidder, {_EUROS} AS price, date_time, extra FROM bid",
    ),
    Query("nexmark_q2", "selection", "SELECT auction, price FROM bid WHERE auction % 123 = 0"),
    Query(
        "nexmark_q7",
        "highest bid of each 10 s",
        """
        SELECT time_bucket(INTERVAL 10 SECOND, date_time) AS window_start,
               window_start + INTERVAL 10 SECOND AS window_end,
               auction, bidder, price, date_time, extra
          FROM bid
       QUALIFY row_number() OVER (PARTITION BY time_bucket(INTERVAL 10 SECOND, date_time)
                                  ORDER BY price DESC, date_time DESC,
                                           partition DESC, line DESC) = 1
        """,
    ),
    Query(
        "nexmark_q14",
        "calculation",
        f"""
        SELECT auction, bidder, {_EUROS} AS price,
               CASE WHEN hour(date_time) >= 8 AND hour(date_time) <= 18 THEN 'dayTime'
                    WHEN hour(date_time) <= 6 OR hour(date_time) >= 20 THEN 'nightTime'
                    ELSE 'otherTime' END AS bid_time_type,
               date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
          FROM bid
         WHERE {_EUROS} > 1000000 AND {_EUROS} < 50000000
        """,
    ),
    Query(
        "nexmark_q17",
        "statistics of each auction and day",
        """
        SELECT auction, date_trunc('day', date_time)::TIMESTAMP AS window_start,
               window_start + INTERVAL 1 DAY AS window_end,
               count(*) AS total_bids,
               count(*) FILTER (price < 10000) AS rank1_bids,
               count(*) FILTER (price >= 10000 AND price < 1000000) AS rank2_bids,
               count(*) FILTER (price >= 1000000) AS rank3_bids,
               min(price) AS min_price, max(price) AS max_price,
               sum(price)::DOUBLE / count(*) AS avg_price, sum(price)::BIGINT AS sum_price
          FROM bid GROUP BY ALL
        """,
    ),
    Query(
        "nexmark_q18",
        "last bid of each bidder and auction",
        """
        SELECT auction, bidder, price, channel, url, date_time, extra
          FROM bid
       QUALIFY row_number() OVER (PARTITION BY auction, bidder
                                  ORDER BY date_time DESC, partition DESC, line DESC) = 1
        """,
    ),
    Query(
        "nexmark_q21",
        "add channel id",
        f"""
        SELECT auction, bidder, price, channel,
               CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1'
                                   WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
                                   ELSE {_IN_URL} END AS channel_id
          FROM bid
         WHERE {_HAS_ID} OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')
        """,
    ),
    Query(
        "nexmark_q22",
        "directories of the address",
        """
        SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1,
               split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
          FROM bid
        """,
    ),
)

_JOIN = "a join of two topics, repartitioned to one key"

MISSING = (
    Missing("nexmark_q3", "local item suggestion", _JOIN),
    Missing("nexmark_q4", "average price of a category", f"{_JOIN}; an aggregate over its result"),
    Missing("nexmark_q5", "hot items", "the top of an aggregate per window"),
    Missing("nexmark_q6", "average selling price by seller", f"{_JOIN}; a mean of the last ten"),
    Missing("nexmark_q8", "monitor new users", "a windowed join of two topics"),
    Missing("nexmark_q9", "winning bids", _JOIN),
    Missing("nexmark_q10", "log to file system", "tables in files; results go to PostgreSQL only"),
    Missing("nexmark_q11", "user sessions", "repartitioning: sessions need the bidder as key"),
    Missing("nexmark_q12", "processing time windows", "windows of processing time"),
    Missing("nexmark_q13", "bounded side input join", "side inputs"),
    Missing("nexmark_q15", "bidding statistics", "repartitioning: distinct counts over all bids"),
    Missing("nexmark_q16", "channel statistics", "repartitioning: distinct counts by channel"),
    Missing("nexmark_q19", "auction top 10 price", "a row for each of an aggregate's top n"),
    Missing("nexmark_q20", "expand bid with auction", _JOIN),
    Missing("nexmark_q23", "expand bid with person and auction", f"{_JOIN}, twice"),
)
