"""The bench measures what it says: the same orders for all, none late, its processor found."""

from __future__ import annotations

from importlib.metadata import distributions

import polars as pl

from bench import orders
from bench.pinned import PLUGINS
from bench.processors import revenue

COUNT = 250_000


def whole(count: int) -> pl.DataFrame:
    return pl.concat(list(orders.chunks(count)))


def test_orders_are_the_same_every_time() -> None:
    assert whole(COUNT).equals(whole(COUNT))


def test_more_orders_begin_with_the_same() -> None:
    size = 200_000  # whole chunks are drawn alike
    assert whole(COUNT).head(size).equals(whole(size))


def test_orders_are_out_of_order_but_never_late() -> None:
    placed = whole(COUNT)["placed_at"].dt.epoch("ms")
    behind = placed.cum_max() - placed
    assert 0 < int(str(behind.max())) < orders.OUT_OF_ORDERNESS_MS
    assert revenue.source.out_of_orderness_ms == orders.OUT_OF_ORDERNESS_MS


def test_expected_windows_count_every_order_once() -> None:
    expected = orders.expected(COUNT)
    assert expected["orders"].sum() == COUNT
    assert expected.select("product", "window_start").is_unique().all()
    assert (expected["window_start"] % orders.WINDOW_MS == 0).all()


def test_the_full_size_has_many_windows() -> None:
    """One order in six opens a window: results are as much work as input."""
    minutes = orders.COUNT * orders.SPACING_MS / orders.WINDOW_MS
    assert minutes * orders.PRODUCTS > 600_000


def test_the_processor_is_announced_where_the_children_look() -> None:
    (found,) = distributions(path=[str(PLUGINS)])
    (entry,) = found.entry_points
    assert (entry.group, entry.name) == ("kappa.processors", f"{revenue.name}.v{revenue.version}")
    assert entry.load() is revenue
