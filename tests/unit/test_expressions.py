"""Which expressions give one value for each record, whatever batch the record is in."""

from __future__ import annotations

import polars as pl
import pytest

from kappa.errors import DeclarationError
from kappa.processing.expressions import result_type

SCHEMA = pl.Schema(
    {
        "n": pl.Int64(),
        "m": pl.Int64(),
        "text": pl.String(),
        "at": pl.Datetime("ms", "UTC"),
        "several": pl.List(pl.Int64()),
    }
)
N, M = pl.col("n"), pl.col("m")


@pytest.mark.parametrize(
    "expr",
    [
        N,
        pl.lit(1),
        pl.lit(1) + pl.lit(2),
        N.cast(pl.Float64) * 2,
        pl.when(N > 1).then(M).otherwise(None),
        pl.coalesce(N, M),
        pl.struct("n", "m"),
        pl.concat_str("n", "text"),
        pl.col("text").str.to_lowercase(),
        pl.col("at").dt.truncate("1h"),
        pl.col("several").list.sum(),
        N.is_in([1, 2]),
        N.replace_strict({1: 2}, default=0),
        N.fill_null(0).clip(0, 3),
        N.replace_strict({1: 2}, default=M),
        pl.lit(4).is_in(pl.col("several")),
        pl.col("several").list.contains(N),
        (N / 3).round(2).clip(0, M),
    ],
    ids=str,
)
def test_one_value_of_each_record(expr: pl.Expr) -> None:
    rows = [(1, 2, "A", 0, [1]), (None, 3, None, 1, []), (7, None, "", 2, [4, 5])]
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    assert frame.lazy().select(x=expr).collect_schema()["x"] == result_type(
        expr, SCHEMA, where="it"
    )
    together = frame.with_columns(x=expr)["x"].to_list()
    alone = [frame[number : number + 1].with_columns(x=expr)["x"].to_list() for number in range(3)]
    assert [[value] for value in together] == alone


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        (N.sum(), "looks at other records"),
        (N.cum_sum(), "looks at other records"),
        (N.shift(), "looks at other records"),
        (N.sum().over("m"), "looks at other records"),
        (N.first(), "looks at other records"),
        (pl.len(), "looks at other records"),
        (N.head(1), "looks at other records"),
        (pl.lit(pl.Series([1, 2])), "looks at other records"),
        (N + pl.lit(pl.Series([1, 2])), "looks at other records"),
        (N - N.mean(), "looks at other records"),
        (M + N.cum_sum(), "looks at other records"),
        (M + N.shift(1), "looks at other records"),
        (N + pl.len(), "looks at other records"),
        (pl.when(M > 1).then(N.sum()), "looks at other records"),
        (N.fill_null(N.mean()), "looks at other records"),
        (N.is_in(M.implode().first()), "looks at other records"),
        (N.is_in(M), "looks at other records"),
        (N + M.is_in(N).cast(pl.Int64), "looks at other records"),
        (N.replace_strict(M, N), "looks at other records"),
        (pl.col("text").str.contains_any(pl.col("text")), "looks at other records"),
        (N.filter(M > 1), "one value for each record"),
        (N.filter(M > 1) + 1, "one value for each record"),
        (pl.when(N.filter(M > 1) > 0).then(1).otherwise(2), "one value for each record"),
        (N.drop_nulls(), "one value for each record"),
        (N.drop_nulls() + M, "one value for each record"),
        (pl.col("several").explode(), "one value for each record"),
        (pl.col("several").list.eval(pl.element() * 2), "cannot be told"),
        (N.map_elements(lambda n: n, pl.Int64), "cannot be told"),
    ],
    ids=str,
)
def test_anything_else_is_refused_by_name(expr: pl.Expr, why: str) -> None:
    with pytest.raises(DeclarationError, match=f"^it: .*{why}"):
        result_type(expr, SCHEMA, where="it")
