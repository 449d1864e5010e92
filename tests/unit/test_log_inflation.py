"""The bound on decompressed sizes: never below the truth, and tight enough to be of use."""

from __future__ import annotations

import gzip
import random

import cramjam
import pytest
from aiokafka.codec import snappy_encode

from kappa.log.inflation import GZIP, LZ4, NONE, SNAPPY, ZSTD, inflated_bound

LIMIT = 1 << 28
_dice = random.Random(5)
CONTENTS = {
    "empty": b"",
    "tiny": b"abc",
    "text": b"the quick brown fox " * 20_000,
    "zeros": b"\0" * 5_000_000,
    "random": _dice.randbytes(700_000),
    "mixed": (b"\0" * 100_000 + _dice.randbytes(100_000)) * 5,
}
ENCODERS = {
    "gzip": (GZIP, gzip.compress),
    "snappy": (SNAPPY, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "xerial": (SNAPPY, snappy_encode),
    "lz4": (LZ4, lambda data: bytes(cramjam.lz4.compress(data))),
    "zstd": (ZSTD, lambda data: bytes(cramjam.zstd.compress(data))),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_is_never_below_the_truth_nor_far_above(encoder: str, content: str) -> None:
    codec, encode = ENCODERS[encoder]
    data = CONTENTS[content]
    bound = inflated_bound(codec, memoryview(encode(data)), LIMIT)
    assert len(data) <= bound <= len(data) * 1.1 + 4 * 1024 * 1024


def test_frames_one_after_the_other_are_added_up() -> None:
    data = CONTENTS["zeros"]
    lz4 = bytes(cramjam.lz4.compress(data))
    zstd = bytes(cramjam.zstd.compress(data))
    assert inflated_bound(LZ4, memoryview(lz4 * 3), LIMIT) >= 3 * len(data)
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"12345"
    assert inflated_bound(ZSTD, memoryview(zstd + skippable + zstd), LIMIT) >= 2 * len(data)


def test_a_gzip_trailer_that_lies_is_found_out() -> None:
    honest = gzip.compress(CONTENTS["zeros"])
    lying = honest[:-4] + (10).to_bytes(4, "little")
    assert inflated_bound(GZIP, memoryview(lying), 1_000_000) > 1_000_000


def test_uncompressed_is_what_it_is() -> None:
    assert inflated_bound(NONE, memoryview(b"12345"), LIMIT) == 5


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_rubbish_ends(codec: int) -> None:
    for _ in range(300):
        rubbish = _dice.randbytes(_dice.randint(0, 40))
        assert inflated_bound(codec, memoryview(rubbish), LIMIT) >= 0


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_frame_cut_anywhere_ends(encoder: str) -> None:
    codec, encode = ENCODERS[encoder]
    frame = encode(CONTENTS["text"])
    for cut in range(min(len(frame), 400)):
        assert inflated_bound(codec, memoryview(frame[:cut]), LIMIT) >= 0
