"""How large a compressed record batch becomes, told from its frame without decompressing it.

Two kilobytes of zstd can hold 64 MiB. A reader that must keep to a memory limit has to know
before it inflates. Every codec's framing bounds its output:

    gzip     at most 1032 times the input; a member's trailer holds its size modulo 2**32
    snappy   the size leads each block
    lz4      every block is at most the size the frame header names
    zstd     every block is at most 128 KiB, raw and run-length blocks name their size
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)

_GZIP_RATIO = 1032
_GZIP_MEMBER = re.compile(rb"\x1f\x8b\x08")
_LZ4_RATIO = 255
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_LZ4_MAGIC = 0x184D2204
_LZ4_BLOCK_BYTES = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_BLOCK_BYTES = 128 * 1024
_ZSTD_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_ZSTD_DICTIONARY_BYTES = (0, 1, 2, 4)
_CHUNK = 1 << 20
_SLICE = 1 << 16
"""Of what is left zlib makes a copy for every member and every chunk."""


def inflated_bound(codec: int, payload: memoryview, limit: int) -> int:
    """An upper bound of the decompressed size in bytes.

    It may be loose below ``limit``, so it is no measure of the content; what it guarantees is
    that a payload which inflates beyond ``limit`` is told as such. Bytes that are not a frame
    of the codec count as they are: the decompressor will refuse them.
    """
    size = len(payload)
    try:
        if codec == GZIP:
            return _gzip(payload, limit)
        if codec == SNAPPY:
            return _snappy(payload)
        if codec == LZ4:
            return min(_lz4(payload), _LZ4_RATIO * size)
        if codec == ZSTD:
            return _zstd(payload)
    except (IndexError, KeyError, struct.error):
        return size
    return size


def gunzipped(payload: memoryview) -> Iterator[bytes]:
    """What the members of a gzip payload hold, all in turn, at most a MiB at a time.

    Raises:
        zlib.error: what is there, or what follows a member, is none.
        EOFError: the last one is cut short.
    """
    inflater = zlib.decompressobj(wbits=31)
    for start in range(0, len(payload), _SLICE):
        rest: bytes | memoryview = payload[start : start + _SLICE]
        pending = False
        while rest or pending:
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
            piece = inflater.decompress(rest, _CHUNK)
            yield piece
            pending = len(piece) == _CHUNK and not inflater.eof
            rest = inflater.unconsumed_tail or inflater.unused_data
    if payload and not inflater.eof:
        raise EOFError("a gzip member is cut short")


def _gzip(payload: memoryview, limit: int) -> int:
    size = len(payload)
    if size * _GZIP_RATIO <= limit and not _GZIP_MEMBER.search(payload, 1):
        (told,) = struct.unpack_from("<I", payload, size - 4)
        return min(int(told), limit)
    total = 0
    try:
        for piece in gunzipped(payload):
            total += len(piece)
            if total > limit:
                break
    except (zlib.error, EOFError):
        pass  # the decompressor meets it as well, with as much before it
    return max(total, size)


def _snappy(payload: memoryview) -> int:
    if bytes(payload[: len(_XERIAL)]) != _XERIAL:
        return _varint(payload, 0)
    total = 0
    position = _XERIAL_HEADER
    while position < len(payload):
        (block,) = struct.unpack_from(">i", payload, position)
        total += _varint(payload, position + 4)
        position += 4 + max(block, 0)
    return total


def _lz4(payload: memoryview) -> int:
    total = 0
    position = 0
    while position + 7 <= len(payload):
        magic, flags, descriptor = struct.unpack_from("<IBB", payload, position)
        if magic != _LZ4_MAGIC:
            break
        block_bytes = _LZ4_BLOCK_BYTES[descriptor >> 4 & 7]
        position += 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
        while True:
            (block,) = struct.unpack_from("<I", payload, position)
            position += 4
            if block == 0:
                break
            total += block_bytes
            position += (block & 0x7FFFFFFF) + (4 if flags & 0x10 else 0)
        position += 4 if flags & 0x04 else 0
    return total


def _zstd(payload: memoryview) -> int:
    total = 0
    position = 0
    while position + 5 <= len(payload):
        magic, descriptor = struct.unpack_from("<IB", payload, position)
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a skippable frame holds no content
            position += 8 + int.from_bytes(payload[position + 4 : position + 8], "little")
            continue
        if magic != _ZSTD_MAGIC:
            break
        single_segment = bool(descriptor & 0x20)
        content_size = _ZSTD_CONTENT_SIZE_BYTES[descriptor >> 6] or int(single_segment)
        position += 5 + int(not single_segment) + content_size
        position += _ZSTD_DICTIONARY_BYTES[descriptor & 3]
        last = False
        while not last:
            block = int.from_bytes(payload[position : position + 3], "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if position + 3 > len(payload):
                return total
            total += _ZSTD_BLOCK_BYTES if kind == 2 else size
            position += 3 + (1 if kind == 1 else size)
        position += 4 if descriptor & 0x04 else 0
    return total


def _varint(payload: memoryview, position: int) -> int:
    value = shift = 0
    while True:
        byte = payload[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        position, shift = position + 1, shift + 7
