"""Raw batches and partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kappa.log.column import BytesColumn
from kappa.log.copies import header_value, original
from kappa.log.records import RawBatch, TopicPartition


def raw(offsets: list[int], start: int, end: int, *, keys: bool = True) -> RawBatch:
    return RawBatch(
        topic="orders",
        partition=1,
        start_offset=start,
        next_offset=end,
        offsets=np.array(offsets, dtype=np.int64),
        timestamps=np.array([o * 10 for o in offsets], dtype=np.int64),
        keys=[b"k%d" % o for o in offsets] if keys else [],
        values=[b"v%d" % o for o in offsets],
        size_bytes=1000,
        copies={o: b"c%d" % o for o in offsets if o % 3 == 0},
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize(
    ("offsets", "start", "end"),
    [([0, 1, 2, 3, 4], 0, 5), ([3, 4, 9, 20], 1, 30), ([7], 7, 8), ([], 5, 9)],
)
def test_pieces_cover_the_range_exactly(
    offsets: list[int], start: int, end: int, size: int
) -> None:
    whole = raw(offsets, start, end)
    pieces = list(whole.split(size))

    assert pieces[0].start_offset == start
    assert pieces[-1].next_offset == end
    for before, after in pairwise(pieces):
        assert before.next_offset == after.start_offset
    for piece in pieces:
        assert len(piece) <= size
        assert all(piece.start_offset <= o < piece.next_offset for o in piece.offsets)
    assert [v for piece in pieces for v in piece.values] == whole.values
    assert [k for piece in pieces for k in piece.keys] == whole.keys
    assert [t for piece in pieces for t in piece.timestamps] == whole.timestamps.tolist()
    assert sum(piece.size_bytes for piece in pieces) == whole.size_bytes
    assert {at: c for piece in pieces for at, c in piece.copies.items()} == whole.copies
    assert all(set(piece.copies) <= set(piece.offsets.tolist()) for piece in pieces)


def test_pieces_without_keys_have_none() -> None:
    assert [piece.keys for piece in raw([1, 2, 3], 0, 4, keys=False).split(2)] == [[], []]


def test_partitions_sort_and_read_well() -> None:
    parts = [TopicPartition("b", 0), TopicPartition("a", 10), TopicPartition("a", 2)]
    assert [str(part) for part in sorted(parts)] == ["a/2", "a/10", "b/0"]


@pytest.mark.parametrize("columns", [list, BytesColumn.of])
@pytest.mark.parametrize("left_out", [[], [3], [4, 20], [3, 4, 9, 20]])
def test_records_left_out_leave_the_range(
    columns: Callable[[list[bytes | None]], Sequence[bytes | None]], left_out: list[int]
) -> None:
    whole = raw([3, 4, 9, 20], 1, 30)
    whole = replace(whole, keys=columns(list(whole.keys)), values=columns(list(whole.values)))
    rest = whole.without(left_out)
    kept = [offset for offset in (3, 4, 9, 20) if offset not in left_out]
    assert (rest.start_offset, rest.next_offset, rest.size_bytes) == (1, 30, 1000)
    assert rest.offsets.tolist() == kept
    assert rest.timestamps.tolist() == [offset * 10 for offset in kept]
    assert list(rest.keys) == [b"k%d" % offset for offset in kept]
    assert list(rest.values) == [b"v%d" % offset for offset in kept]
    assert list(rest.copies) == [offset for offset in kept if offset % 3 == 0]
    assert raw([3, 4], 1, 5, keys=False).without([3]).keys == []


def test_what_a_copy_says_of_its_original() -> None:
    assert original(header_value("a_topic-id", 3, 1042), "a_topic-id", 3) == 1042


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"id", b"id/3", b"id/3/", b"id/3/x", b"id/3/-1", b"id/3/+1", b"id/3/1/2",
        b"id/3/1 ", b"id/3/" + b"9" * 30, b"id/4/1", b"another/3/1", b"\xff/3/1",
        "id/3/\u0661".encode(),
    ],
)  # fmt: skip
def test_what_names_no_place_in_this_partition(value: bytes | None) -> None:
    assert original(value, "id", 3) is None
