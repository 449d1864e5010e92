"""The bound on decompressed sizes: never below the truth, and tight enough to be of use."""

from __future__ import annotations

import gzip
import random
import zlib

import cramjam
import pytest
from aiokafka.codec import snappy_encode

from kappa.log.codecs import inflated
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


@pytest.mark.parametrize("limit", [1_000_000, LIMIT])
@pytest.mark.parametrize("members", [("zeros", "tiny"), ("tiny", "zeros", "empty"), ("text",) * 5])
def test_gzip_members_are_added_up(members: tuple[str, ...], limit: int) -> None:
    payload = memoryview(b"".join(gzip.compress(CONTENTS[name]) for name in members))
    data = b"".join(CONTENTS[name] for name in members)
    assert inflated(GZIP, payload) == data
    assert min(len(data), limit + 1) <= inflated_bound(GZIP, payload, limit) <= 2 * len(data)


def test_many_gzip_members_are_one_payload() -> None:
    payload = memoryview(gzip.compress(b"ab") * 20_000)
    assert inflated_bound(GZIP, payload, LIMIT) >= 40_000
    assert inflated(GZIP, payload) == b"ab" * 20_000


@pytest.mark.parametrize("what", ["zeros", "rubbish", "half"])
def test_what_follows_a_gzip_member_is_another_or_nothing(what: str) -> None:
    """Other decoders pass over zeros there; the size in the trailer would be read from them."""
    member = gzip.compress(CONTENTS["zeros"])
    payload = member + {"zeros": b"\0" * 4, "rubbish": b"more", "half": member[:-9]}[what]
    assert inflated_bound(GZIP, memoryview(payload), 1_000_000) > 1_000_000
    with pytest.raises((zlib.error, EOFError)):
        inflated(GZIP, memoryview(payload))


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
