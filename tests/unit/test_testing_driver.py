"""The driver shows what a database would hold, with time moved by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from kappa import (
    Context,
    Count,
    CountDistinct,
    Hopping,
    KeyedProcessor,
    ListState,
    Projection,
    Session,
    Source,
    Sum,
    Tumbling,
    ValueState,
    WindowedAggregate,
)
from kappa.errors import BadRecord, DeclarationError
from kappa.testing import Driver, Timer
from kappa.testing.tables import Rows, appended, latest

ORDERS = {
    "product": pl.String,
    "amount": pl.Float64,
    "placed_at": pl.Datetime("ms", "UTC"),
}


def revenue(**changes: Any) -> WindowedAggregate:
    declared: dict[str, Any] = {
        "name": "revenue",
        "version": 1,
        "source": Source("orders", event_time="placed_at", out_of_orderness="5s"),
        "key": ["product"],
        "window": Tumbling("1m"),
        "aggregates": {"orders": Count(), "revenue": Sum("amount")},
    }
    return WindowedAggregate(**declared | changes)


def order(product: str, at: str | None, amount: float | None = 1.0) -> dict[str, Any]:
    placed_at = None if at is None else f"2024-05-01T{at}Z"
    return {"product": product, "amount": amount, "placed_at": placed_at}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-05-01T{text}+00:00")


def test_rows_are_those_of_the_view_sorted_by_key() -> None:
    driver = Driver(revenue(), schema=ORDERS)
    driver.send(order("tea", "10:01:00"), order("milk", "10:00:59", 2.5))
    driver.send(order("tea", "10:00:59", None))
    assert [tuple(row.values()) for row in driver.rows] == [
        ("milk", moment("10:00:00"), moment("10:01:00"), 1, 2.5),
        ("tea", moment("10:00:00"), moment("10:01:00"), 1, None),
        ("tea", moment("10:01:00"), moment("10:02:00"), 1, 1.0),
    ]
    assert list(driver.rows[0]) == ["product", "window_start", "window_end", "orders", "revenue"]


def test_a_watermark_moved_by_hand_closes_windows_of_its_partition_alone() -> None:
    driver = Driver(revenue(allowed_lateness="10s"), schema=ORDERS)
    driver.send(order("tea", "10:00:05"))
    driver.advance_watermark("2024-05-01T10:01:09.999Z")
    driver.send(order("tea", "10:00:06"))
    assert driver.late == []
    driver.advance_watermark(moment("10:01:10"))
    driver.advance_watermark(moment("10:00:00"))  # it never goes back
    driver.send(order("tea", "10:00:07"))
    driver.send(order("tea", "10:00:08"), partition=1)
    (row,) = driver.rows
    assert row["orders"] == 3
    (late,) = driver.late
    assert late["_late_by_ms"] == 0
    assert late["_event_time"] == moment("10:00:07")
    assert late["product"] == "tea"


def test_a_session_closed_by_hand_takes_no_more() -> None:
    driver = Driver(revenue(window=Session("30s")), schema=ORDERS)
    driver.send(order("tea", "10:00:00"), order("tea", "10:00:20"))
    driver.advance_watermark("2024-05-01T10:00:50Z")
    driver.send(order("tea", "10:00:25"))
    assert [(row["window_end"], row["orders"]) for row in driver.rows] == [
        (moment("10:00:50"), 2),
        (moment("10:00:55"), 1),
    ]


def test_windows_are_final_when_every_partition_has_passed_them() -> None:
    driver = Driver(revenue(emit="final", allowed_lateness="10s"), schema=ORDERS)
    assert driver.final_through is None
    assert driver.rows == []
    driver.send(order("tea", "10:00:05"))
    driver.send(order("tea", "10:00:06"), partition=1)
    driver.advance_watermark("2024-05-01T10:02:00Z", partition=1)
    assert driver.final_through == moment("09:59:50")
    assert driver.rows == []
    driver.advance_watermark("2024-05-01T10:01:10Z")
    assert driver.final_through == moment("10:01:00")
    assert [row["orders"] for row in driver.rows] == [2]


def test_refused_records_are_dead_letters_with_their_rows() -> None:
    driver = Driver(revenue(), schema=ORDERS)
    driver.send(order("tea", None))
    driver.send(order("tea", "10:00:00"), timestamp="2024-04-01T00:00:00Z")
    letters = driver.dead_letters
    assert [(letter["partition"], letter["offset"]) for letter in letters] == [(0, 0), (0, 1)]
    assert "is null" in letters[0]["message"]
    assert "ahead" in letters[1]["message"]
    assert letters[1]["row"] == order("tea", "10:00:00")
    assert driver.rows == []


@pytest.mark.parametrize(
    "window", [Tumbling("1m"), Hopping("1m", "25s"), Session("20s"), None], ids=str
)
@pytest.mark.parametrize("worker_merged", [False, True])
def test_a_restart_changes_nothing(window: Any, worker_merged: bool) -> None:
    more = {"customers": CountDistinct("amount")} if worker_merged else {}
    processor = revenue(window=window, aggregates={"orders": Count(), **more})
    first, second = (Driver(processor, schema=ORDERS, record_key="product") for _ in range(2))
    for number, at in enumerate(("10:00:05", "10:00:31", "10:00:11", "10:01:02", "10:00:50")):
        for driver in (first, second):
            driver.send(order("tea", at, number % 2), order("milk", at, number), partition=0)
        if number % 2:
            second.checkpoint()
        second.restart()
    assert second.rows == first.rows != []
    assert second.late == first.late


def test_the_record_key_comes_from_its_column_unless_it_is_given() -> None:
    driver = Driver(revenue(window=Session("30s")), schema=ORDERS)
    driver.send(order("tea", "10:00:00"))
    driver.send(order("tea", "10:00:01"), key="coffee")
    assert [row["orders"] for row in driver.rows] == [1]
    (letter,) = driver.dead_letters
    assert letter["message"] == "the record key is not the text of 'product'"


def test_the_latest_row_per_key_and_tombstones() -> None:
    stock = Projection(
        name="stock",
        version=1,
        source=Source("stock"),
        columns=["shelf", pl.col("left").alias("pieces")],
        latest_by="shelf",
    )
    driver = Driver(stock, schema={"shelf": pl.Int64, "left": pl.Int32})
    driver.send({"shelf": 2, "left": 5}, {"shelf": 1, "left": 7}, {"shelf": 2, "left": 4})
    assert driver.rows == [{"shelf": 1, "pieces": 7}, {"shelf": 2, "pieces": 4}]
    driver.send(None, key="1")
    driver.restart()
    assert driver.rows == [{"shelf": 2, "pieces": 4}]
    with pytest.raises(BadRecord, match="needs a key"):
        driver.send(None)


def test_every_record_a_row() -> None:
    paid = Projection(
        name="paid",
        version=1,
        source=Source("orders"),
        columns=["product"],
        where=pl.col("amount") > 0,
    )
    driver = Driver(paid, schema=ORDERS)
    driver.send(order("tea", None), order("free", None, 0.0))
    driver.send(order("milk", None), partition=1)
    driver.send(order("tea", None))
    assert [row["product"] for row in driver.rows] == ["tea", "tea", "milk"]


class Reminders(KeyedProcessor):
    """Two kinds of timers, two outputs, two kinds of state."""

    name, version = "reminders", 1
    source = Source("visits", event_time="at", out_of_orderness="1s")
    key = "user"
    output: ClassVar[Any] = {"user": pl.String(), "what": pl.String(), "at": pl.Int64()}
    outputs: ClassVar[Any] = {"visits": {"page": pl.String()}}
    pages = ListState(str)
    count = ValueState(int, ttl="1h")

    def on_event(self, event: Any, ctx: Context) -> None:
        if event.page == "broken":
            ctx.emit(user=ctx.key, what="never seen")
            raise ValueError("no such page")
        self.pages.append(event.page)
        self.count.set((self.count.get() or 0) + 1)
        ctx.emit_to("visits", page=event.page)
        ctx.set_event_timer(ctx.event_time + 10_000, "quiet")
        ctx.set_processing_timer(ctx.processing_time + 60_000)

    def on_timer(self, at: int, ctx: Context) -> None:
        if self.pages.get() and self.pages.get()[-1] == "bad":
            raise RuntimeError("cannot remind")
        ctx.emit(user=ctx.key, what=ctx.timer or "wall", at=at)


VISITS = {"user": pl.String, "page": pl.String, "at": pl.Int64}


def visit(user: str, at: Any, page: str = "home") -> dict[str, Any]:
    return {"user": user, "page": page, "at": at}


def test_timers_fire_as_time_is_moved() -> None:
    driver = Driver(Reminders, schema=VISITS)
    driver.send(visit("ann", 1_000), visit("bob", 2_000))
    assert driver.timers == [
        Timer(11_000, "ann", "quiet", "event"),
        Timer(12_000, "bob", "quiet", "event"),
        Timer(61_000, "ann", "", "processing"),
        Timer(62_000, "bob", "", "processing"),
    ]
    driver.advance_watermark(11_000)
    assert driver.rows == [{"user": "ann", "what": "quiet", "at": 11_000}]
    driver.restart()
    driver.advance_time(62_000)
    driver.advance_watermark(12_000)
    assert [(row["user"], row["what"]) for row in driver.rows] == [
        ("ann", "quiet"),
        ("ann", "wall"),
        ("bob", "wall"),
        ("bob", "quiet"),
    ]
    assert driver.timers == []
    assert driver.output("visits") == [{"page": "home"}, {"page": "home"}]


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Int64(),
        *(pl.Datetime(unit, "UTC") for unit in ("ms", "us", "ns")),
        pl.Datetime("us", "America/New_York"),
    ],
    ids=str,
)
def test_a_watermark_moved_by_hand_is_as_exact_as_any_event_time_column(
    dtype: pl.DataType,
) -> None:
    def at(ms: int) -> Any:
        return ms if dtype == pl.Int64 else datetime.fromtimestamp(ms / 1_000, UTC)

    driver = Driver(Reminders, schema={**VISITS, "at": dtype})
    driver.send(visit("ann", at(1_000)))
    driver.advance_watermark(10_999)
    assert driver.rows == []
    driver.advance_watermark(11_000)
    assert driver.rows == [{"user": "ann", "what": "quiet", "at": 11_000}]
    driver.send(visit("bob", at(13_000)))
    assert [timer.at for timer in driver.timers if timer.kind == "event"] == [23_000]


def test_a_moment_that_the_event_time_column_cannot_hold_is_refused() -> None:
    driver = Driver(Reminders, schema={**VISITS, "at": pl.Datetime("ns", "UTC")})
    driver.send(visit("ann", datetime(1970, 1, 1, tzinfo=UTC)))
    with pytest.raises(BadRecord, match="cannot hold"):
        driver.advance_watermark("3000-01-01")


class Numbered(Reminders):
    columns: ClassVar = {"page": "page", "number": pl.col("user").cast(pl.Int64)}


def test_time_does_not_pass_in_silence_where_no_record_can_be_made_up() -> None:
    driver = Driver(Numbered, schema=VISITS)
    driver.send(visit("17", 1_000))
    with pytest.raises(BadRecord, match="no values") as refused:
        driver.advance_watermark(11_000)
    assert "send a record" in refused.value.hint
    assert (driver.rows, driver.dead_letters) == ([], [])
    driver.send(visit("18", 12_000))
    assert driver.rows == [{"user": "17", "what": "quiet", "at": 11_000}]


def test_time_that_passes_reaches_no_handler_and_leaves_no_state() -> None:
    driver = Driver(Reminders(), schema=VISITS)
    driver.advance_time(5)
    driver.advance_watermark(7_000)
    driver.advance_time("1970-01-01T00:00:09Z")
    assert (driver.rows, driver.timers, driver.dead_letters) == ([], [], [])
    assert driver.output("visits") == []
    driver.send(visit("", 8_000))  # as good a key as any
    assert driver.state("") == {"pages": ["home"], "count": 1}
    assert driver.timers[-1].at == 69_000


def test_states_are_shown_by_key_and_end_with_their_time() -> None:
    driver = Driver(Reminders, schema=VISITS)
    driver.send(visit("ann", 1_000), visit("ann", 2_000, "cart"))
    assert driver.state("ann") == {"pages": ["home", "cart"], "count": 2}
    assert driver.state("bob") == {"pages": None, "count": None}
    driver.advance_watermark(3_602_000)
    assert driver.state("ann") == {"pages": ["home", "cart"], "count": None}


def test_a_handler_that_fails_leaves_a_dead_letter_and_nothing_else() -> None:
    driver = Driver(Reminders, schema=VISITS)
    driver.send(visit("ann", 1_000, "broken"), visit("bob", 2_000, "bad"))
    driver.advance_watermark(12_000)
    assert driver.rows == []
    record, timer = driver.dead_letters
    assert (record["error_class"], record["message"]) == ("ValueError", "no such page")
    assert record["row"] == visit("ann", 1_000, "broken")
    assert "on_event" in record["stack"]
    assert timer["timer"].startswith("event-time timer 'quiet' of 'bob'")
    assert timer["row"] is None  # no record made it fire


def test_what_a_kind_does_not_have_is_said() -> None:
    driver = Driver(revenue(), schema=ORDERS)
    with pytest.raises(DeclarationError, match="only keyed processors"):
        driver.state("tea")
    with pytest.raises(DeclarationError, match="no output 'reviews'"):
        driver.output("reviews")
    timeless = Projection(name="all", version=1, source=Source("orders"), columns=["product"])
    with pytest.raises(DeclarationError, match="no event time"):
        Driver(timeless, schema=ORDERS).advance_watermark(0)
    for other in ("revenue", WindowedAggregate):
        with pytest.raises(DeclarationError, match="is no processor"):
            Driver(other, schema=ORDERS)  # type: ignore[arg-type]


async def later(self: object, event: object, ctx: object) -> None: ...


def in_parts(self: object, event: object, ctx: object) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "changes",
    [
        {"on_event": KeyedProcessor.on_event},
        {"on_event": later},
        {"on_event": in_parts},
        {"on_timer": later},
        {"output": {"aB": pl.String()}},
        {"key": "nothing"},
    ],
    ids=", ".join,
)
def test_what_a_load_would_refuse_is_refused_in_the_same_words(changes: dict[str, object]) -> None:
    processor: type[KeyedProcessor] = type("Reminders", (Reminders,), changes)
    with pytest.raises(DeclarationError) as at_load:
        processor().bind(pl.Schema(VISITS))
    with pytest.raises(DeclarationError) as tried:
        Driver(processor, schema=VISITS)
    assert (str(tried.value), tried.value.hint) == (str(at_load.value), at_load.value.hint)


def test_rows_may_be_written_as_text_and_are_checked(tmp_path: Path) -> None:
    schema = tmp_path / "order.avsc"
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "kind", "type": "string", "default": "retail"},
        {"name": "tags", "type": {"type": "map", "values": "int"}, "default": {}},
    ]
    schema.write_text(json.dumps({"type": "record", "name": "Order", "fields": fields}))
    processor = Projection(
        name="orders",
        version=1,
        source=Source("orders", event_time="at"),
        columns=["id", "at", "price", "note", "kind", "tags"],
    )
    driver = Driver(processor, schema=schema)
    driver.send({"id": 1, "at": "2024-05-01T12:00:00+02:00", "price": "2.50", "tags": {"a": 1}})
    driver.send({"id": 2, "at": datetime(2024, 5, 1, tzinfo=UTC), "price": 2, "kind": "whole"})
    first, second = driver.rows
    assert first == {
        "id": 1,
        "at": moment("10:00:00"),
        "price": Decimal("2.50"),
        "note": None,
        "kind": "retail",
        "tags": [{"key": "a", "value": 1}],
    }
    assert (second["price"], second["kind"], second["tags"]) == (Decimal(2), "whole", [])
    good = {"id": 3, "at": 0, "price": 1}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"id": "3"}, "'id'"),
        ({"id": True}, "'id'"),
        ({"id": 2**63}, "'id'"),
        ({"id": None}, "'id' is never null"),
        ({"at": "yesterday"}, "'at': 'yesterday' is no ISO 8601 timestamp"),
        ({"price": 1.005}, "'price'"),
        ({"note": 5}, "'note'"),
        ({"color": "red"}, "no column 'color'"),
    ]
    for change, message in wrong:
        with pytest.raises(BadRecord, match=message):
            driver.send(good | change)


@pytest.mark.parametrize(
    ("merging", "rows"),
    [
        (appended(["_offset"]), [(1, "a"), (1, "b")]),
        (latest(["key"]), [(1, "a"), (1, "a")]),
    ],
)
def test_rows_that_could_not_both_be_stored_are_refused(
    merging: Callable[[pl.DataFrame], pl.DataFrame], rows: list[tuple[int, str]]
) -> None:
    table = Rows(merging)
    for row in rows:
        table.write(pl.DataFrame([row], schema=["_offset", "key"], orient="row"))
    with pytest.raises(Exception, match="two rows have one key"):
        table.frame()
