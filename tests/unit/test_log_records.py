"""Raw batches and partitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

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


def test_pieces_without_keys_have_none() -> None:
    assert [piece.keys for piece in raw([1, 2, 3], 0, 4, keys=False).split(2)] == [[], []]


def test_partitions_sort_and_read_well() -> None:
    parts = [TopicPartition("b", 0), TopicPartition("a", 10), TopicPartition("a", 2)]
    assert [str(part) for part in sorted(parts)] == ["a/2", "a/10", "b/0"]
