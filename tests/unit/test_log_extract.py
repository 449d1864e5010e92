"""From scanned batches to records."""

from __future__ import annotations

import gzip
import struct

import cramjam
import numpy as np
import pytest

from kappa.errors import CorruptBatch, LogError
from kappa.log.batches import scan
from kappa.log.extract import extract
from kappa.log.records import RawBatch, TopicPartition
from tests.unit.record_batches import batch, sealed

AT = TopicPartition("orders", 3)
_HEADER = 61


def taken(
    response: bytes,
    start: int = 0,
    end: int | None = None,
    *,
    with_keys: bool = True,
    piece_bytes: int = 1 << 26,
    bomb_bytes: int = 1 << 28,
) -> list[RawBatch]:
    scanned = scan(response, AT, start, end, [])
    return list(
        extract(scanned, AT, with_keys=with_keys, piece_bytes=piece_bytes, bomb_bytes=bomb_bytes)
    )


def repacked(raw: bytes, codec: int, payload: bytes) -> bytes:
    """The batch with another payload, a codec in its attributes, and a checksum that fits."""
    changed = bytearray(raw[:_HEADER] + payload)
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    changed[22] = changed[22] & ~0x07 | codec
    return sealed(changed)


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("append_time", [None, 5000])
def test_every_codec_and_both_kinds_of_timestamps(codec: int, append_time: int | None) -> None:
    response = batch(
        10, [b"a", None, b""], keys=[None, b"k", b""], codec=codec, append_time=append_time
    )
    (piece,) = taken(response, 10)
    assert piece.values == [b"a", None, b""]
    assert piece.keys == [None, b"k", b""]
    assert piece.offsets.tolist() == [10, 11, 12]
    assert piece.timestamps.tolist() == ([5000] * 3 if append_time else [1000, 1001, 1002])
    assert piece.offsets.dtype == piece.timestamps.dtype == np.int64
    assert (piece.topic, piece.partition) == ("orders", 3)
    assert (piece.start_offset, piece.next_offset) == (10, 13)
    assert piece.size_bytes == len(response)


@pytest.mark.parametrize("append_time", [None, 5000])
def test_without_keys_there_are_none(append_time: int | None) -> None:
    (piece,) = taken(batch(0, [b"a"], keys=[b"k"], append_time=append_time), with_keys=False)
    assert (piece.keys, piece.values) == ([], [b"a"])


@pytest.mark.parametrize("append_time", [None, 5000])
@pytest.mark.parametrize(("start", "end"), [(0, 6), (2, 6), (0, 4), (2, 4), (5, 6), (3, 3)])
def test_records_outside_the_range_are_cut_off(
    append_time: int | None, start: int, end: int
) -> None:
    values = [b"0", b"1", b"2", b"3", b"4", b"5"]
    (piece,) = taken(batch(0, values, append_time=append_time), start, end)
    assert piece.values == values[start:end]
    assert piece.offsets.tolist() == list(range(start, end))
    assert (piece.start_offset, piece.next_offset) == (start, end)


def test_gaps_keep_their_offsets() -> None:
    response = batch(100, [b"a", b"b", b"c"], deltas=[0, 3, 9], append_time=5)
    (piece,) = taken(response, 100)
    assert piece.offsets.tolist() == [100, 103, 109]
    assert piece.next_offset == 110
    (tail,) = taken(response, 101)
    assert (tail.offsets.tolist(), tail.values) == ([103, 109], [b"b", b"c"])


def test_a_range_without_records_is_an_empty_batch() -> None:
    (piece,) = taken(batch(0, [b"x"]), 0, 0)
    assert (len(piece), piece.offsets.tolist(), piece.values) == (0, [], [])


def test_batches_are_joined_until_they_inflate_too_far() -> None:
    batches = [batch(n * 10, [b"x" * 1000] * 10) for n in range(6)]
    response = b"".join(batches)
    (whole,) = taken(response)
    pieces = taken(response, piece_bytes=25_000)

    assert [(p.start_offset, p.next_offset) for p in pieces] == [(0, 20), (20, 40), (40, 60)]
    assert [v for p in pieces for v in p.values] == whole.values
    assert sum(p.size_bytes for p in pieces) == whole.size_bytes == len(response)


def test_pieces_cover_the_gaps_between_them() -> None:
    response = batch(0, [b"x" * 100]) + batch(50, [b"x" * 100])
    pieces = taken(response, 0, 90, piece_bytes=100)
    assert [(p.start_offset, p.next_offset) for p in pieces] == [(0, 1), (1, 51)]


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (1, gzip.compress(b"\0" * 3_000_000)),
        (1, gzip.compress(b"\0" * 3_000_000) + gzip.compress(b"")),
        (1, gzip.compress(b"") + gzip.compress(b"\0" * 3_000_000)),
        (2, bytes(cramjam.snappy.compress_raw(b"\0" * 3_000_000))),
        (3, bytes(cramjam.lz4.compress(b"\0" * 3_000_000))),
        (4, bytes(cramjam.zstd.compress(b"\0" * 3_000_000))),
    ],
)
def test_a_bomb_is_refused_before_it_is_inflated(codec: int, payload: bytes) -> None:
    response = repacked(batch(7, [b"x"]), codec, payload)
    with pytest.raises(LogError, match="inflates beyond") as caught:
        taken(response, 7, bomb_bytes=1_000_000)
    assert caught.value.detail == {"topic": "orders", "partition": 3, "offset": 7}


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4, 5, 7])
def test_rubbish_under_a_right_checksum_is_corrupt(codec: int) -> None:
    response = repacked(batch(7, [b"x"]), codec, b"\x02\x99rubbish")
    with pytest.raises(LogError) as caught:
        taken(response, 7)
    assert caught.value.detail["offset"] == 7


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_payload_cut_short_is_corrupt(codec: int) -> None:
    whole = batch(7, [b"abc" * 100] * 50, codec=codec)
    with pytest.raises(LogError):
        taken(repacked(whole, codec, whole[_HEADER:-9]), 7)


def test_gzip_members_one_after_the_other_are_read_and_zeros_after_them_refused() -> None:
    plain = batch(7, [b"abc" * 100] * 50)
    half = len(plain) // 2
    members = gzip.compress(plain[_HEADER:half]) + gzip.compress(plain[half:])
    (piece,) = taken(repacked(plain, 1, members), 7)
    assert list(piece.values) == [b"abc" * 100] * 50
    with pytest.raises(CorruptBatch):
        taken(repacked(plain, 1, members + bytes(8)), 7)


def test_fewer_records_than_the_header_says_are_corrupt() -> None:
    raw = bytearray(batch(0, [b"a", b"b"]))
    struct.pack_into(">i", raw, 57, 3)
    with pytest.raises(CorruptBatch):
        taken(sealed(raw))
