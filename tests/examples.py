"""Streams for the example processors, and what each processor should come to, the slow way.

A reference goes through a topic record by record, partition after partition in offset order, and
keeps whole records. Times are milliseconds; rows are those of the view, sorted by their key.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.reference import exact_units

Row = dict[str, Any]

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_714_550_400_000
"""2024-05-01 08:00 UTC."""


@dataclass(frozen=True)
class Placed:
    """A record at its place in a topic; ``row`` is None for a tombstone."""

    partition: int
    offset: int
    key: str
    row: Row | None
    timestamp: int = START


@dataclass(frozen=True)
class Expected:
    """What the view shows, and which records are late: (partition, offset) and by how many ms."""

    rows: list[Row]
    late: dict[tuple[int, int], int]


def in_topic(
    records: Iterable[tuple[str, Row | None]],
    partition_of: Callable[[str], int],
    timestamps: Iterable[int] = (),
) -> list[Placed]:
    """Keys and rows where a producer would put them."""
    ends: dict[int, int] = defaultdict(int)
    placed = []
    stamps = iter(timestamps)
    for key, row in records:
        partition = partition_of(key)
        placed.append(Placed(partition, ends[partition], key, row, next(stamps, START)))
        ends[partition] += 1
    return placed


def batches(topic: Iterable[Placed], most: int = 40) -> Iterator[tuple[int, list[Placed]]]:
    """Partitions with their records in turns, up to ``most`` at a time."""
    waiting: dict[int, list[Placed]] = defaultdict(list)
    for record in topic:
        waiting[record.partition].append(record)
        if len(waiting[record.partition]) == most:
            yield record.partition, waiting.pop(record.partition)
    yield from waiting.items()


def keyed(rows: Iterable[Row], key: str) -> Iterator[tuple[str, Row]]:
    """Rows with their record key."""
    return ((row[key], row) for row in rows)


def comparable(rows: Iterable[Mapping[str, Any]], *key: str) -> list[Row]:
    """Rows sorted by key columns, with instants in milliseconds."""
    plain = ({name: _plain(value) for name, value in row.items()} for row in rows)
    return sorted(plain, key=lambda row: tuple(row[name] for name in key))


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


# Streams


def orders(count: int, seed: int) -> list[Row]:
    """Orders some seconds apart, most within 30 seconds of their order, some far too late."""
    rng = random.Random(seed)
    return [
        {
            "order_id": number,
            "customer": f"c{rng.randrange(30)}",
            "product": f"p{rng.randrange(5)}",
            "quantity": rng.randint(1, 9),
            "amount": f"{rng.randint(-500, 99_999) / 100:.2f}",
            "placed_at": START + number * 4 * SECOND - _disorder(rng, 30 * SECOND, 20 * MINUTE),
        }
        for number in range(count)
    ]


def page_views(count: int, seed: int) -> list[Row]:
    """Views of visitors who come and go; one of them never rests."""
    rng = random.Random(seed)
    visitors = ["robot"] * 8 + [f"v{number}" for number in range(20)]
    return [
        {
            "visitor": rng.choice(visitors),
            "page": rng.choice(["/", "/tea", "/ink", "/cart", "/checkout"]),
            "load_ms": rng.choice([None, rng.randint(20, 60)]),
            "viewed_at": START + number * 80 * SECOND - _disorder(rng, 80 * SECOND, 90 * MINUTE),
        }
        for number in range(count)
    ]


def prices(count: int, seed: int) -> list[Row]:
    """Prices that wander."""
    rng = random.Random(seed)
    return [
        {
            "product": f"p{rng.randrange(8)}",
            "price": round(rng.uniform(1, 100), 2),
            "quoted_at": START + number * 3 * SECOND - _disorder(rng, 10 * SECOND, 20 * MINUTE),
        }
        for number in range(count)
    ]


def customers(count: int, seed: int) -> list[tuple[str, Row | None]]:
    """Customers who move, and some who are forgotten."""
    rng = random.Random(seed)
    records: list[tuple[str, Row | None]] = []
    for number in range(count):
        customer = f"c{rng.randrange(40)}"
        city = rng.choice(["  leipzig", "new york", None])
        row = {"customer": customer, "name": f"name {number}", "city": city}
        records.append((customer, None if rng.random() < 0.2 else row))
    return records


def transactions(count: int, seed: int) -> list[Row]:
    """Transactions of which many are tiny or large."""
    rng = random.Random(seed)
    return [
        {
            "account_id": f"a{rng.randrange(12)}",
            "amount": rng.choice([0.5, 0.99, 1.0, 80.0, 500.0, 500.01, 900.0]),
            "at": START + number * SECOND,
        }
        for number in range(count)
    ]


def _disorder(rng: random.Random, usual: int, seldom: int) -> int:
    """How far behind its place a record is."""
    return rng.randrange(seldom if rng.random() < 0.05 else usual)


# References


def judged(topic: Iterable[Placed], time: str, disorder: int) -> Iterator[tuple[Placed, Row, int]]:
    """Each record with its row and its partition's watermark, the record included."""
    newest: dict[int, int] = {}
    for record in sorted(topic, key=lambda record: (record.partition, record.offset)):
        assert record.row is not None
        at = record.row[time]
        newest[record.partition] = max(newest.get(record.partition, at), at)
        yield record, record.row, newest[record.partition] - disorder


def order_totals(topic: Iterable[Placed]) -> Expected:
    cells: dict[tuple[str, int], list[Row]] = defaultdict(list)
    late = {}
    for record, row, watermark in judged(topic, "placed_at", 30 * SECOND):
        start = row["placed_at"] // (5 * MINUTE) * (5 * MINUTE)
        by = watermark - (start + 5 * MINUTE + MINUTE)
        if by >= 0:
            late[record.partition, record.offset] = by
        else:
            cells[row["product"], start].append(row)
    rows = [
        {
            "product": product,
            "window_start": start,
            "window_end": start + 5 * MINUTE,
            "orders": len(held),
            "quantity": sum(row["quantity"] for row in held),
            "revenue": sum(Decimal(row["amount"]) for row in held),
            "mean_quantity": sum(row["quantity"] for row in held) / len(held),
        }
        for (product, start), held in cells.items()
    ]
    return Expected(comparable(rows, "product", "window_start"), late)


def moving_average(topic: Sequence[Placed]) -> Expected:
    cells: dict[tuple[str, int], list[float]] = defaultdict(list)
    late = {}
    reached: dict[int, int] = {}
    for record, row, watermark in judged(topic, "quoted_at", 10 * SECOND):
        reached[record.partition] = watermark
        newest = row["quoted_at"] // MINUTE * MINUTE
        starts = [newest - number * MINUTE for number in range(10)]
        still_open = [start for start in starts if watermark < start + 10 * MINUTE]
        if not still_open:
            late[record.partition, record.offset] = watermark - (newest + 10 * MINUTE)
        for start in still_open:
            cells[row["product"], start].append(row["price"])
    rows = [
        {
            "product": product,
            "window_start": start,
            "window_end": start + 10 * MINUTE,
            "quotes": len(held),
            "mean_price": exact_units(held) / 2**32 / len(held),
        }
        for (product, start), held in cells.items()
        if start + 10 * MINUTE <= min(reached.values())
    ]
    return Expected(comparable(rows, "product", "window_start"), late)


def session_analytics(topic: Iterable[Placed]) -> Expected:
    gap, longest = 30 * MINUTE, 12 * HOUR
    sessions: dict[str, list[list[Placed]]] = defaultdict(list)
    late = {}
    for record, row, watermark in judged(topic, "viewed_at", MINUTE):
        at, mine = row["viewed_at"], sessions[row["visitor"]]
        joined = [record]
        for session in sorted(mine, key=_first):
            if watermark >= _last(session) + gap:
                continue  # closed
            reached = _first(session) - gap < at < _last(session) + gap
            both = [*joined, *session]
            if reached and _last(both) - _first(both) <= longest:
                joined = both
                mine.remove(session)
        if len(joined) == 1 and watermark >= at + gap:
            late[record.partition, record.offset] = watermark - (at + gap)
        else:
            mine.append(joined)
    rows = [_session(each, gap) for several in sessions.values() for each in several]
    return Expected(comparable(rows, "visitor", "window_start"), late)


def _times(session: Iterable[Placed]) -> list[int]:
    return [record.row["viewed_at"] for record in session if record.row is not None]


def _first(session: Iterable[Placed]) -> int:
    return min(_times(session))


def _last(session: Iterable[Placed]) -> int:
    return max(_times(session))


def _session(session: Sequence[Placed], gap: int) -> Row:
    placed = [(r.row["viewed_at"], r.partition, r.offset, r.row) for r in session if r.row]
    rows = [row for *_, row in sorted(placed, key=lambda each: each[:3])]
    timed = [row for row in rows if row["load_ms"] is not None]
    slowest = sorted(timed, key=lambda row: row["load_ms"])[:-4:-1]  # of equal ones the last first
    return {
        "visitor": rows[0]["visitor"],
        "window_start": _first(session),
        "window_end": _last(session) + gap,
        "views": len(rows),
        "pages": len({row["page"] for row in rows}),
        "first_page": rows[0]["page"],
        "last_page": rows[-1]["page"],
        "slowest_ms": max((row["load_ms"] for row in timed), default=None),
        "slowest_pages": [row["page"] for row in slowest] or None,
        "checkouts": sum(row["page"] == "/checkout" for row in rows),
    }


def latest_customers(topic: Iterable[Placed]) -> list[Row]:
    table: dict[str, Row] = {}
    for record in topic:
        if record.row is None:
            table.pop(record.key, None)
        else:
            city = record.row["city"]
            table[record.key] = {**record.row, "city": city and city.strip().title()}
    return comparable(table.values(), "customer")


def fraud_alerts(topic: Iterable[Placed]) -> list[Row]:
    alerts = []
    now: dict[int, int] = {}
    tiny_at: dict[str, int] = {}
    for record in sorted(topic, key=lambda record: (record.partition, record.offset)):
        assert record.row is not None
        account, amount = record.row["account_id"], record.row["amount"]
        now[record.partition] = max(now.get(record.partition, 0), record.timestamp)
        since = now[record.partition] - tiny_at.get(account, -MINUTE)
        if amount > 500 and since < MINUTE:
            alerts.append({"account_id": account, "amount": amount, "at": record.row["at"]})
        if amount < 1:
            tiny_at[account] = now[record.partition]
    return comparable(alerts, "at", "account_id")
