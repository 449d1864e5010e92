"""Lines of a binary stream, a block at a time, numbered from 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase

from kappa.errors import BadRecord

BLOCK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longer lines are refused: a line is held in memory whole."""

_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines without their newlines, as many as were at hand."""

    first_line: int
    lines: list[bytes]
    consumed: int
    """Bytes of the stream read so far."""

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        return enumerate(self.lines, self.first_line)


def blocks(stream: BufferedIOBase) -> Iterator[Block]:
    """Reads what is there without waiting for a full block, so that a pipe is not held up.

    Raises:
        BadRecord: a line is longer than MAX_LINE_BYTES.
    """
    carry: list[bytes] = []
    carried = consumed = 0
    line = 1
    while data := stream.read1(BLOCK_BYTES):
        if not consumed:
            data = data.removeprefix(_UTF8_MARK)
        consumed += len(data)
        cut = data.rfind(b"\n")
        if cut < 0:
            carry.append(data)
            carried += len(data)
            if carried > MAX_LINE_BYTES:
                raise BadRecord(f"a line is longer than {MAX_LINE_BYTES:,} bytes", line=line)
            continue
        lines = b"".join([*carry, data[:cut]]).split(b"\n")
        yield Block(line, lines, consumed)
        line += len(lines)
        carry = [data[cut + 1 :]]
        carried = len(carry[0])
    rest = b"".join(carry)
    if rest:
        yield Block(line, [rest], consumed)
