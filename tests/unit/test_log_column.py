"""The column of bytes reads like a list, and passes into Arrow and Polars as it is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.log.column import BytesColumn

values = st.lists(st.none() | st.binary(max_size=20), max_size=12)


def column(parts: list[list[bytes | None]]) -> BytesColumn:
    return BytesColumn([pa.array(part, pa.binary()) for part in parts])


@given(st.lists(values, max_size=4), st.integers(0, 40), st.integers(0, 40))
def test_it_is_the_list_of_what_it_holds(
    parts: list[list[bytes | None]], low: int, high: int
) -> None:
    flat = [value for part in parts for value in part]
    found = column(parts)
    assert len(found) == len(flat)
    assert list(found) == flat
    assert found == flat
    assert found[low:high] == flat[low:high]
    assert list(found[low:high][1:]) == flat[low:high][1:]
    assert [found[at] for at in np.arange(len(flat))] == flat
    assert pa.chunked_array(found).to_pylist() == flat
    assert found.to_polars().to_list() == flat
    assert found.to_polars().dtype == pl.Binary
    assert BytesColumn.of(flat) == found
    assert bool(found) == bool(flat)


def test_it_differs_from_what_is_longer_or_other() -> None:
    found = BytesColumn.of([b"a", None])
    assert found != [b"a"]
    assert found != [b"a", b""]
    assert found != 7
    assert repr(found) == "BytesColumn.of([b'a', None])"
    with pytest.raises(IndexError):
        found[2]
