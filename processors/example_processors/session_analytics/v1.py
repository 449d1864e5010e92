"""Sessions per visitor: a visit ends when no page was viewed for half an hour.

Copy this for anything that has pauses instead of a grid: visits, trips, bursts of readings. Then
change

- ``key``: it must be the topic's record key, so that one partition has all of a visitor;
- ``Session``: the pause that ends a session, and how long one may last at most, so that a robot
  that never pauses gets a row per half day instead of one for ever.

A row grows while the session is open and may be joined to another. Add ``emit="final"`` for
sessions that nothing can change any more.
"""

import polars as pl

from kappa import Count, CountDistinct, First, Last, Max, Session, Source, TopK, WindowedAggregate

session_analytics = WindowedAggregate(
    name="session_analytics",
    version=1,
    source=Source("web.views", event_time="viewed_at", out_of_orderness="1m"),
    key=["visitor"],
    window=Session("30m", max_length="12h"),
    aggregates={
        "views": Count(),
        "pages": CountDistinct("page"),
        "first_page": First("page"),
        "last_page": Last("page"),
        "slowest_ms": Max("load_ms"),
        "slowest_pages": TopK("page", 3, by="load_ms"),
        "checkouts": Count(where=pl.col("page") == "/checkout"),
    },
)
