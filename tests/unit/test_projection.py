"""Projections: a row per record, or the latest row per key with tombstones."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa import Projection, Source
from kappa.errors import DeclarationError
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import TOMBSTONE_SCHEMA, Events, Fold
from kappa.processing.store import NothingStored

SCHEMA = pl.Schema({"customer": pl.String(), "city": pl.String(), "age": pl.Int64()})

LATEST = Projection(
    name="customers",
    version=1,
    source=Source("customers"),
    columns=["customer", pl.col("city").str.to_uppercase().alias("town")],
    latest_by="customer",
)


def batch(rows: Sequence[tuple[int, str, str | None]], *, key: str | None = None) -> Events:
    """Records (offset, customer, city); a city of None is a tombstone."""
    live = [row for row in rows if row[2] is not None]
    gone = [row for row in rows if row[2] is None]
    return Events(
        topic="customers",
        partition=3,
        frame=pl.DataFrame(
            {
                "customer": [r[1] for r in live],
                "city": [r[2] for r in live],
                "age": [r[0] for r in live],
                "@partition": [3 for _ in live],
                "@offset": [r[0] for r in live],
                "@timestamp": [1_000 for _ in live],
                "@key": [(key or r[1]).encode() for r in live],
            },
            schema={
                **SCHEMA,
                "@partition": pl.Int32(),
                "@offset": pl.Int64(),
                "@timestamp": pl.Int64(),
                "@key": pl.Binary(),
            },
        ),
        tombstones=pl.DataFrame(
            {
                "@offset": [r[0] for r in gone],
                "@timestamp": [1_000 for _ in gone],
                "@key": [r[1].encode() for r in gone],
            },
            schema=TOMBSTONE_SCHEMA,
        ),
        max_record_time=1_000,
    )


def fold_of(projection: Projection) -> Fold:
    return projection.bind(SCHEMA).fold(anything, NothingStored())


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.sampled_from("xyz")))),
    st.integers(1, 5),
)
@settings(max_examples=100)
def test_the_latest_row_per_key_wins_however_the_records_are_cut(
    updates: list[tuple[str, str | None]], size: int
) -> None:
    rows = [(offset, key, city) for offset, (key, city) in enumerate(updates)]
    fold = fold_of(LATEST)
    for low in range(0, len(rows), size):
        fold.apply(batch(rows[low : low + size]), PartitionClock())
    expected = {key: (offset, city) for offset, key, city in rows}
    result = {
        row["customer"]: (row["_offset"], None if row["_deleted"] else row["town"].lower())
        for row in fold.flush().rows.iter_rows(named=True)
    }
    assert result == expected
    assert len(fold.flush().rows) == 0


def test_a_record_whose_key_is_not_its_key_column_is_a_dead_letter() -> None:
    outcome = fold_of(LATEST).apply(batch([(0, "a", "x")], key="b"), PartitionClock())
    assert outcome.dead.rows() == [
        (0, "Refused", "the record key is not the text of 'customer'", None, None)
    ]


def test_a_numeric_key_is_compared_and_deleted_by_its_text() -> None:
    by_age = Projection(
        name="ages", version=1, source=Source("customers"), columns=["age"], latest_by="age"
    )
    fold = fold_of(by_age)
    outcome = fold.apply(batch([(7, "7", "x"), (8, "7", None), (9, "no", None)]), PartitionClock())
    assert outcome.dead.rows() == [
        (9, "Refused", "a tombstone whose key cannot be read", None, None)
    ]
    assert fold.flush().rows.rows() == [(7, 3, 8, True)]


def test_every_record_is_a_row_and_the_rest_is_filtered() -> None:
    grown = Projection(
        name="grown",
        version=1,
        source=Source("customers"),
        columns={"who": "customer", "place": pl.format("{}@{}", "@partition", "@offset")},
        where=pl.col("age") >= 2,
    )
    fold = fold_of(grown)
    outcome = fold.apply(
        batch([(1, "a", "x"), (2, "b", "y"), (3, "b", None), (4, "a", "z")]), PartitionClock()
    )
    assert outcome.filtered == 2  # offset 1 by the condition, the tombstone by its kind
    assert fold.flush().rows.rows() == [("b", "3@2", 3, 2), ("a", "3@4", 3, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "Projection version 1 declares no name"),
        ({"version": 0}, "p version 0 declares no version"),
        ({"source": "customers"}, "p version 1: source is a str"),
        ({"columns": "customer"}, "p version 1: columns is a str"),
        ({"columns": [7]}, "p version 1, columns: 7 is no column"),
        ({"columns": {"age": 7}}, "p version 1, column 'age': 7 is no column"),
        ({"latest_by": ["customer"]}, "p version 1: latest_by is a list"),
        ({"where": "age > 1"}, "p version 1: where is a str"),
        ({"max_dead_letters": 2}, "p version 1: max_dead_letters is a int"),
        ({"publish": "customers"}, "p version 1: publish is a str"),
        ({"columns": []}, "p version 1 declares no columns"),
        ({"columns": ["nothing"]}, "p version 1, column 'nothing': .* no column 'nothing'"),
        ({"latest_by": "age"}, "'age' is not among the columns"),
        ({"latest_by": "customer", "where": pl.col("age") > 1}, "cannot filter"),
        ({"where": pl.col("age")}, "p version 1, where is of type Int64, not a condition"),
        ({"columns": {"homeTown": "city"}}, "'homeTown' cannot be a column's name"),
        ({"columns": {"_offset": "age"}}, "'_offset' cannot be a column's name"),
        ({"columns": {"a__b": "age"}}, "'a__b' cannot be a column's name"),
        ({"columns": [pl.col("age").shift()]}, "looks at other records"),
        (
            {"columns": [pl.struct("age").alias("age")], "latest_by": "age"},
            "'age' is not among the columns",
        ),
    ],
)
def test_declaration_errors(changes: dict[str, object], message: str) -> None:
    declared: dict[str, object] = {
        "name": "p",
        "version": 1,
        "source": Source("customers"),
        "columns": ["customer"],
    }
    with pytest.raises(DeclarationError, match=message) as refused:
        Projection(**{**declared, **changes}).bind(SCHEMA)  # type: ignore[arg-type]
    assert refused.value.hint
