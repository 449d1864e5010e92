"""Reading JSON lines, CSV and Parquet: columns, lines, defaults, and what is refused where."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.avro.nodes import Array, Field, Logical, Nullable, Primitive, Record
from kappa.errors import BadRecord
from kappa.publishing import delimited, jsonl, lines, parquet
from kappa.publishing.chunks import Chunk, Tombstone
from kappa.publishing.values import conform

ID = Field("id", Primitive("long"))
NAME = Field("name", Nullable(Primitive("string"), null_first=True))
SIZE = Field("size", Primitive("double"), has_default=True, default=1.5)
FIELDS = (ID, NAME, SIZE)


_CELLS = st.characters(codec="utf-8", exclude_characters="\r\0")


class Drip(io.BytesIO):
    """A pipe: a few bytes at a time, whatever is asked for."""

    def __init__(self, data: bytes, at_once: int) -> None:
        super().__init__(data)
        self._at_once = at_once

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self._at_once)


def columns(chunks: Iterator[Chunk]) -> tuple[list[int], dict[str, list[object]], list[str]]:
    """All chunks as one: lines, columns, and what is bad."""
    numbers: list[int] = []
    read: dict[str, list[object]] = {field.name: [] for field in FIELDS}
    bad: list[str] = []
    for chunk in chunks:
        numbers += chunk.lines
        bad += map(str, chunk.bad)
        for name, raw in chunk.columns.items():
            read[name] += raw.to_list() if isinstance(raw, pl.Series) else raw
    return numbers, read, bad


def read_jsonl(text: str, key: str | None = None) -> Iterator[Chunk]:
    return jsonl.read(io.BytesIO(text.encode()), FIELDS, key)


def read_csv(text: str) -> Iterator[Chunk]:
    return delimited.read(io.BytesIO(text.encode()), FIELDS)


@given(st.binary(max_size=60), st.integers(1, 9))
def test_blocks_are_the_lines_of_the_stream(data: bytes, at_once: int) -> None:
    found = list(lines.blocks(Drip(data, at_once)))
    flat = [line for block in found for line in block.lines]
    expected = data.removeprefix(b"\xef\xbb\xbf" if at_once > 2 else b"").split(b"\n")
    assert flat == (expected[:-1] if expected[-1] == b"" else expected)
    assert [block.first_line for block in found] == [
        1 + sum(len(before.lines) for before in found[:at]) for at in range(len(found))
    ]
    if found:
        assert found[-1].consumed == len(data)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    with pytest.raises(BadRecord, match="longer than 1,000 bytes") as caught:
        list(lines.blocks(Drip(b"x\n" + b"y" * 2000, 100)))
    assert caught.value.detail["line"] == 2


def test_jsonl_fills_defaults_and_keeps_lines() -> None:
    text = '{"id": 1, "name": "a", "size": 2}\n\n{"name": null, "id": 3}\n'
    assert columns(read_jsonl(text)) == (
        [1, 3],
        {"id": [1, 3], "name": ["a", None], "size": [2, 1.5]},
        [],
    )


def test_jsonl_says_what_is_wrong_with_a_line() -> None:
    text = "\n".join(
        [
            '{"id": 1, "name": null}',
            '{"id": 2, "nam": "x"}',
            '{"id": 3}',
            "[4]",
            '{"id": 5,}',
            '{"id": NaN, "name": null}',
            '{"id": 7, "name": "last"}',
        ]
    )
    numbers, read, bad = columns(read_jsonl(text))
    assert numbers == [1, 7]
    assert read["id"] == [1, 7]
    assert [line.partition(" at ")[0] for line in sorted(bad)] == [
        "line 2, column nam: the schema has no such field",
        "line 3, column name: the field is missing and has no default",
        "line 4: not a JSON object",
        "line 5: not JSON: trailing comma is not allowed",
        "line 6: not JSON: unexpected character, expected a JSON value",
    ]


WIDE = Primitive("bytes", Logical("decimal", 38, 10))
LINES = Record(
    "Line", (Field("price", WIDE), Field("weight", Primitive("double")), Field("note", NAME.node))
)


@pytest.mark.parametrize(
    "digits",
    [
        "9999999999999999.99",
        "99999999999999999999",
        "100000000000.00000001",
        "-0.1",
        "1e3",
        "18446744073709551616",
        "7",
    ],
)
def test_a_decimal_keeps_every_digit_it_is_written_with(digits: str) -> None:
    """At the top and inside, in JSON lines and in JSON that is a cell of CSV."""
    exact = Decimal(digits)
    inside = f'[{{"price": {digits}, "weight": 1.5, "note": null}}]'
    fields = (Field("price", WIDE), Field("lines", Array(LINES)))
    text = f'{{"price": {digits}, "lines": {inside}}}\n'
    (chunk,) = jsonl.read(io.BytesIO(text.encode()), fields, None)
    cell = inside.replace('"', '""')
    (cut,) = delimited.read(io.BytesIO(f'price,lines\n{digits},"{cell}"\n'.encode()), fields)
    for read in (chunk, cut):
        price, listed = (list(read.columns[field.name]) for field in fields)
        assert conform(price[0], fields[0].node) == exact
        assert conform(listed[0], fields[1].node) == [{"price": exact, "weight": 1.5, "note": None}]


def test_a_cell_is_a_number_by_its_ascii_digits_alone() -> None:
    """Whatever the cells beside it are."""
    for cells in ("٣\n", "٣\n4\n", "٣\nx\n"):
        (chunk,) = delimited.read(io.BytesIO(f"id\n{cells}".encode()), (ID,))
        assert next(iter(chunk.columns["id"])) == "٣"


def test_jsonl_tombstones() -> None:
    text = "\n".join(
        [
            '{"id": 1, "name": null}',
            '{"id": 1, "@tombstone": true}',
            '{"id": 1, "@tombstone": false}',
            '{"id": 1, "name": "a", "@tombstone": true}',
            '{"name": "a", "@tombstone": true}\n',
        ]
    )
    (chunk,) = read_jsonl(text, key="id")
    assert list(chunk.lines) == [1]
    assert list(chunk.tombstones) == [Tombstone(2, 1)]
    assert [bad.line for bad in chunk.bad] == [3, 4, 5]
    (chunk,) = read_jsonl(text)
    assert {bad.reason for bad in chunk.bad} == {"the topic has no key column"}


def test_csv_cells_are_read_by_the_schema() -> None:
    text = 'size,id,name\r\n1e3,7,a\r\n\r\n2,"8",""\r\nx,+9,"say ""hi"",\n2"\r\n,10,b\r\n'
    assert columns(read_csv(text)) == (
        [2, 4, 5, 7],
        {
            "id": [7, 8, 9, 10],
            "name": ["a", None, 'say "hi",\n2', "b"],
            "size": [1000.0, 2.0, "x", None],
        },
        [],
    )


def test_csv_without_a_column_takes_the_default() -> None:
    numbers, read, bad = columns(read_csv("name,id\nx,1\ny,2\n"))
    assert (numbers, bad) == ([2, 3], [])
    assert read["size"] == [1.5, 1.5]


@pytest.mark.parametrize("quote", ["", '"'])
def test_csv_says_what_is_wrong_with_a_line(quote: str) -> None:
    text = f"id,name\n1,{quote}a{quote}\n2\n3,b,c\n4,d\n"
    numbers, _, bad = columns(read_csv(text))
    assert numbers == [2, 5]
    assert bad == [
        "line 3: 1 cells, where the header has 2",
        "line 4: 3 cells, where the header has 2",
    ]


def test_csv_goes_on_after_a_line_that_is_none() -> None:
    data = b'id,name\n1,"a"x\n2,b\n3,\xff\n4,"\xff"\n5,"c"\n'
    for at_once in (1, 9, 1000):
        numbers, read, bad = columns(delimited.read(Drip(data, at_once), FIELDS))
        assert read["id"] == [2, 5]
        assert numbers == [3, 6]
        assert [line.partition(":")[0] for line in bad] == ["line 2", "line 4", "line 5"]


def test_csv_with_a_quote_left_open_is_refused_where_it_opens() -> None:
    numbers, _, bad = columns(read_csv('id,name\n1,a\n2,"b\n3,c\n'))
    assert numbers == [2]
    assert bad == ["line 3: not CSV: unexpected end of data"]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.text(
                st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=4
            ),
        ),
        max_size=8,
    ),
    at_once=st.integers(1, 40),
)
def test_csv_is_what_the_csv_module_writes(rows: list[tuple[int, str]], at_once: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "name"])
    writer.writerows(rows)
    _, read, bad = columns(delimited.read(Drip(text.getvalue().encode(), at_once), FIELDS))
    assert not bad
    assert list(zip(read["id"], read["name"], strict=True)) == rows


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "id": st.integers(-(2**63), 2**63 - 1),
                "name": st.none() | st.text(st.characters(codec="utf-8"), max_size=4),
            },
            optional={"size": st.floats(allow_nan=False, allow_infinity=False)},
        ),
        max_size=8,
    ),
    at_once=st.integers(1, 40),
)
def test_jsonl_is_what_the_json_module_writes(rows: list[dict[str, object]], at_once: int) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    _, read, bad = columns(jsonl.read(Drip(data, at_once), FIELDS, None))
    assert not bad
    assert read == {
        "id": [row["id"] for row in rows],
        "name": [row["name"] for row in rows],
        "size": [row.get("size", 1.5) for row in rows],
    }


@pytest.mark.parametrize(
    ("header", "column", "reason"),
    [
        ("id,name,colour", "colour", "no such field"),
        ("id", "name", "missing and has no default"),
        ("id,name,id", "id", "there twice"),
    ],
)
def test_a_header_that_does_not_fit(header: str, column: str, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason) as caught:
        list(read_csv(header + "\n1,2,3\n"))
    assert caught.value.detail == {"line": 1, "column": column}


def test_csv_needs_a_header() -> None:
    with pytest.raises(BadRecord, match="no header"):
        list(read_csv("\n\n"))


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 2)
    path = tmp_path / "some.parquet"
    pl.DataFrame({"name": ["a", None, "c"], "id": [1, 2, 3]}).write_parquet(path)
    assert columns(parquet.read(path, FIELDS)) == (
        [1, 2, 3],
        {"id": [1, 2, 3], "name": ["a", None, "c"], "size": [1.5] * 3},
        [],
    )
    assert [chunk.consumed for chunk in parquet.read(path, FIELDS)] == [2, 3]
    assert parquet.count_rows(path) == 3


@pytest.mark.parametrize(
    "read", [lambda path: list(parquet.read(path, FIELDS)), parquet.count_rows]
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "none.parquet"
    path.write_text("id,name\n")
    with pytest.raises(BadRecord, match="not readable as Parquet"):
        read(path)
