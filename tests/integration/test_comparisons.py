"""What a comparison of two versions finds, against what was put into their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from kappa.errors import IllegalTransition, UnknownVersion
from kappa.tables import sink
from kappa.tables.finality import Finality
from kappa.tables.layout import (
    INDEX_COLUMN,
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Layout,
    Side,
)
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, DOUBLE, NUMERIC, REAL, TEXT, SqlType
from kappa.versions import comparisons
from kappa.versions.comparisons import Allowance, Comparison
from tests.integration.tables_scenes import (
    declare,
    items,
    move_to,
    ready,
    revenue,
    revenue_rows,
    set_final,
    without_view_column,
)

Unique = Callable[[str], str]

NOTHING = Allowance()


def compare(
    engine: Engine, name: str, allowance: Allowance = NOTHING, samples: int = 10
) -> Comparison:
    return comparisons.compare(
        engine,
        name,
        1,
        2,
        who="test",
        allowance=allowance,
        most_samples=samples,
        timeout_s=5,
    )


def fill(engine: Engine, layout: Layout, rows: pl.DataFrame) -> None:
    with engine.begin() as conn:
        sink.upsert(conn, layout, rows)


def built(engine: Engine, layout: Layout, rows: pl.DataFrame) -> Layout:
    ready(engine, layout, [9])
    fill(engine, layout, rows)
    return layout


def numbered(values: Sequence[tuple[int, Any, Any]]) -> pl.DataFrame:
    """Rows of `items` at these offsets."""
    return pl.DataFrame(
        [(offset, 0, id_, amount) for offset, id_, amount in values],
        schema={
            "_offset": pl.Int64,
            "_partition": pl.Int32,
            "id": pl.Int64,
            "amount": pl.Int64,
        },
        orient="row",
    )


def test_changed_gone_and_new_rows_are_found_with_both_their_values(
    engine: Engine, unique: Unique
) -> None:
    name = unique("diff")
    same = [(offset, offset, 7) for offset in range(10, 200)]
    built(engine, items(name, 1), numbered([(0, 1, 5), (1, 2, None), (2, 3, 3), *same]))
    built(engine, items(name, 2), numbered([(0, 1, 6), (1, 2, 4), (3, 4, 4), *same]))
    found = compare(engine, name)
    (main,) = found.outputs
    assert (main.rows_before, main.rows_after) == (193, 193)
    assert (main.changed, main.only_before, main.only_after) == (2, 1, 1)
    assert main.rate == 4 / 194
    assert main.matched_by == ("_partition", "_offset")
    assert {one.column: (one.changed, one.rate) for one in main.columns} == {
        "id": (0, 0.0),
        "amount": (2, 2 / 192),
    }
    assert [(one.kind, one.key["_offset"], one.before, one.after) for one in main.samples] == [
        ("changed", "0", {"amount": "5"}, {"amount": "6"}),
        ("changed", "1", {"amount": None}, {"amount": "4"}),
        ("only_before", "2", {"id": "3", "amount": "3"}, None),
        ("only_after", "3", None, {"id": "4", "amount": "4"}),
    ]
    assert not found.accepted


def test_as_much_as_is_allowed_is_accepted_and_stored(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    built(engine, items(name, 1), numbered([(offset, 1, 1) for offset in range(100)]))
    other = [(offset, 1, 1 if offset else 2) for offset in range(100)]
    built(engine, items(name, 2), numbered(other))
    with engine.connect() as conn:
        assert comparisons.latest(conn, name, 1, 2) is None
    refused = compare(engine, name, Allowance(max_rate=0.009))
    expected = compare(engine, name, Allowance(expect=True))
    within = compare(engine, name, Allowance(max_rate=0.01), samples=0)
    assert [one.accepted for one in (refused, expected, within)] == [False, True, True]
    with engine.connect() as conn:
        stored = comparisons.latest(conn, name, 1, 2)
        assert comparisons.latest(conn, name, 2, 1) is None
    assert stored is not None
    assert (stored.id, stored.accepted, stored.who) == (within.id, True, "test")
    assert stored.allowed == Allowance(max_rate=0.01)
    assert stored.fingerprints == ("f", "f")
    assert [at["next_offset"] for at in stored.offsets] == [9]
    (main,) = stored.result["outputs"]
    assert (main["changed"], main["rate"], main["samples"]) == (1, 0.01, [])


def test_nothing_differs_where_nothing_does(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    for version in (1, 2):
        built(engine, items(name, version), numbered([(0, None, None), (1, 1, 1)]))
    found = compare(engine, name)
    assert found.accepted
    assert found.rate == 0
    assert found.outputs[0].samples == ()


def test_null_is_a_key_like_any_other(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    rows = [
        [(None, 0, 1, 1 << 32, "a", "b"), ("p", 0, 1, 1 << 32, "a", "b")],
        [(None, 0, 2, 3 << 32, "a", "b"), ("p", 0, 1, 1 << 32, "a", "b")],
    ]
    for version in (1, 2):
        layout = revenue(name, version, null_keys=True)
        built(engine, layout, revenue_rows(rows[version - 1]))
    (main,) = compare(engine, name).outputs
    assert (main.changed, main.only_before, main.only_after) == (1, 0, 0)
    (sample,) = main.samples
    assert sample.key == {"product": None, "window_start": "1970-01-01 00:00:00+00"}
    assert sample.before == {"orders": "1", "revenue": "1", "mean": "1"}
    assert sample.after == {"orders": "2", "revenue": "3", "mean": "1.5"}


def test_hidden_columns_are_no_difference(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    for version, customer in ((1, "ann"), (2, "bob")):
        rows = revenue_rows([("p", 0, 1, 1 << 32, customer, customer)])
        built(engine, revenue(name, version), rows)
    assert compare(engine, name).accepted


def test_columns_that_one_version_lacks_are_named_and_the_others_compared(
    engine: Engine, unique: Unique
) -> None:
    name = unique("diff")
    rows = revenue_rows([("p", 0, 1, 1 << 32, "a", "b")])
    built(engine, without_view_column(revenue(name, 1), "mean"), rows)
    built(engine, without_view_column(revenue(name, 2), "revenue"), rows)
    found = compare(engine, name)
    (main,) = found.outputs
    assert (main.removed, main.added) == (("revenue",), ("mean",))
    assert [one.column for one in main.columns] == [
        "product",
        "window_start",
        "window_end",
        "orders",
    ]
    assert not found.accepted, "readers know it"
    assert not compare(engine, name, Allowance(max_rate=1)).accepted
    assert compare(engine, name, Allowance(expect=True)).accepted


def test_columns_that_are_new_are_no_difference(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    rows = revenue_rows([("p", 0, 1, 1 << 32, "a", "b")])
    built(engine, without_view_column(revenue(name, 1), "mean"), rows)
    built(engine, revenue(name, 2), rows)
    assert compare(engine, name).accepted


def amounts_as(name: str, version: int, kind: Any) -> Layout:
    layout = items(name, version)
    columns = tuple(
        replace(column, type=kind) if column.name == "amount" else column
        for column in layout.columns
    )
    return replace(layout, columns=columns)


def test_values_of_other_types_are_compared_as_what_they_say(
    engine: Engine, unique: Unique
) -> None:
    name = unique("diff")
    built(engine, items(name, 1), numbered([(0, 1, 5), (1, 1, 6), (2, 1, None)]))
    as_double = numbered([(0, 1, 5), (1, 1, 7), (2, 1, None)]).with_columns(
        pl.col("amount").cast(pl.Float64)
    )
    built(engine, amounts_as(name, 2, DOUBLE), as_double)
    (main,) = compare(engine, name).outputs
    (retyped,) = main.retyped
    assert (retyped.column, retyped.before, retyped.after) == (
        "amount",
        "bigint",
        "double precision",
    )
    assert main.changed == 1
    assert main.samples[0].after == {"amount": "7"}
    assert not compare(engine, name, Allowance(max_rate=1)).accepted, "it has another type"


@pytest.mark.parametrize(
    ("before", "after", "rows", "changed"),
    [
        (REAL, DOUBLE, [(0.1, 0.10000000149011612), (0.5, 0.5), (1e30, 1.0000000150474662e30)], 0),
        (DOUBLE, REAL, [(0.1, 0.1), (0.5, 0.5)], 1),
        (DOUBLE, NUMERIC, [(12345678901234568.0, 12345678901234600), (0.1, "0.1"), (7.0, 7)], 1),
        (BIGINT, DOUBLE, [(1234567890123456789, 1234567890123456789.0), (3, 3.5)], 1),
        (BIGINT, NUMERIC, [(1234567890123456789, 1234567890123456788), (3, 3)], 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_numbers_of_two_types_are_compared_as_postgresql_does(
    engine: Engine,
    unique: Unique,
    before: SqlType,
    after: SqlType,
    rows: list[tuple[Any, Any]],
    changed: int,
) -> None:
    name = unique("diff")
    for version, kind in ((1, before), (2, after)):
        layout = amounts_as(name, version, kind)
        built(engine, layout, numbered([]))
        with engine.begin() as conn:
            for place, values in enumerate(rows):
                conn.execute(
                    text(
                        f"INSERT INTO {layout.table} (id, amount, _partition, _offset)"
                        f" VALUES (1, CAST(:amount AS {kind.name}), 0, :place)"
                    ),
                    {"amount": str(values[version - 1]), "place": place},
                )
    with engine.connect() as conn:
        by_server = conn.scalar(
            text(
                f"SELECT count(*) FROM {name}__v1 AS a JOIN {name}__v2 AS b USING (_offset)"
                " WHERE a.amount <> b.amount"
            )
        )
    (main,) = compare(engine, name).outputs
    assert (main.changed, by_server) == (changed, changed)


def test_rows_of_other_keys_are_matched_by_all_they_show(engine: Engine, unique: Unique) -> None:
    """Three rows that are alike are not two."""
    name = unique("diff")
    built(engine, items(name, 1), numbered([(0, 1, 5), (1, 1, 5), (2, 1, 5), (3, 2, None)]))
    layout = items(name, 2)
    indexed = replace(
        layout,
        columns=(*layout.columns, INDEX_COLUMN),
        key=("_partition", "_offset", "_index"),
    )
    rows = numbered([(0, 1, 5), (1, 2, None), (2, 1, 5)])
    built(engine, indexed, rows.with_columns(pl.lit(0, pl.Int32).alias("_index")))
    (main,) = compare(engine, name).outputs
    assert main.matched_by == ()
    assert (main.changed, main.only_before, main.only_after) == (0, 1, 0)
    assert main.samples[0].before == {"id": "1", "amount": "5"}


def sided(name: str, version: int, *sides: str) -> Layout:
    columns = (
        Column("note", TEXT, MergeRule.FIXED),
        PARTITION_COLUMN,
        OFFSET_COLUMN,
        INDEX_COLUMN,
    )
    return replace(items(name, version), sides=tuple(Side(side, columns) for side in sides))


def test_side_outputs_are_compared_too(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    layouts = [sided(name, 1, "refused", "old"), sided(name, 2, "refused", "fresh")]
    for layout, note in zip(layouts, ("x", "y"), strict=True):
        ready(engine, layout, [9])
        rows = pl.DataFrame({"note": [note], "_partition": [0], "_offset": [4], "_index": [0]})
        with engine.begin() as conn:
            sink.append_side(conn, layout, "refused", rows)
    found = compare(engine, name)
    assert [one.output for one in found.outputs] == ["main", "refused"]
    assert (found.removed, found.added) == (("old",), ("fresh",))
    refused = found.outputs[1]
    assert (refused.changed, refused.rate) == (1, 1.0)
    assert refused.samples[0].key == {"_partition": "0", "_offset": "4", "_index": "0"}
    assert not found.accepted
    assert not compare(engine, name, Allowance(max_rate=1)).accepted, "an output is gone"


def test_late_records_and_dead_letters_are_counted(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    for version in (1, 2):
        layout = ready(engine, revenue(name, version), [9])
        late = pl.DataFrame(
            {"_partition": [0] * version, "_offset": range(version), "product": ["p"] * version}
        )
        with engine.begin() as conn:
            sink.write_late(conn, layout, late)
    with engine.begin() as conn:
        conn.execute(
            text(
                'INSERT INTO kappa_dead_letter (processor, version, topic, partition, "offset",'
                " timestamp, error_class, message) VALUES (:p, 2, 't', 0, 3, 0, 'E', 'm')"
            ),
            {"p": name},
        )
    found = compare(engine, name)
    before, after = found.counts_before, found.counts_after
    assert ((before.late, before.dead), (after.late, after.dead)) == ((1, 0), (2, 1))
    assert found.accepted


def test_every_one_of_many_differences_is_found(engine: Engine, unique: Unique) -> None:
    """As many as that nearly every bucket differs, and few in many buckets."""
    name = unique("diff")
    count = 20_000
    for version, step in ((1, 0), (2, 400)):
        layout = ready(engine, items(name, version), [9])
        with engine.begin() as conn:
            conn.execute(
                text(
                    f"INSERT INTO {layout.table} (id, amount, _partition, _offset) SELECT n,"
                    " CASE WHEN :step > 0 AND n % GREATEST(:step, 1) = 0 THEN -1 ELSE n END, 0, n"
                    f" FROM generate_series(1, {count}) AS n"
                ),
                {"step": step},
            )
            conn.execute(text(f"ANALYZE {layout.table}"))
    (main,) = compare(engine, name, samples=3).outputs
    assert (main.changed, len(main.samples)) == (50, 3)
    with engine.begin() as conn:
        conn.execute(text(f"UPDATE {name}__v2 SET amount = -n.id FROM {name}__v2 n"
                          f" WHERE n._offset = {name}__v2._offset"))  # fmt: skip
    (main,) = compare(engine, name).outputs
    assert (main.changed, main.rate) == (count, 1.0)


def test_only_versions_that_are_built_are_compared(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    ready(engine, items(name, 1), [9])
    with pytest.raises(UnknownVersion):
        compare(engine, name)
    with engine.begin() as conn:
        declare(conn, items(name, 2))
    with pytest.raises(IllegalTransition, match="building"):
        compare(engine, name)


def test_a_final_row_is_compared_only_once_it_is_shown(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    for version, through in ((1, "1970-01-01 00:01+00"), (2, "1970-01-01 00:02+00")):
        layout = replace(revenue(name, version), finality=Finality(0, hides=True))
        rows = [("p", 0, 1, 1, "a", "b"), ("p", 60_000, 1, 1, "a", "b")]
        built(engine, layout, revenue_rows(rows))
        set_final(engine, name, version, through)
    (main,) = compare(engine, name).outputs
    assert (main.rows_before, main.rows_after, main.only_after) == (1, 2, 1)


def test_both_stand_where_the_one_ahead_was(engine: Engine, unique: Unique) -> None:
    name = unique("diff")
    for version in (1, 2):
        ready(engine, items(name, version), [4, 7])
    move_to(engine, items(name, 2), [4, 7])
    assert [at.next_offset for at in compare(engine, name).offsets] == [4, 7]
