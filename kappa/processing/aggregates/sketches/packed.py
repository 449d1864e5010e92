"""Partials as bytes: a byte that names the format, then MessagePack.

Equal partials are equal bytes, on every machine and in every release that writes the format.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import accumulate
from operator import sub
from typing import Any, Generic, TypeVar

import msgspec
import polars as pl

from kappa.errors import TableError

Body = TypeVar("Body")


class Format(Enum):
    """The first byte of a partial. What a format means is never changed: it gets a new byte."""

    NUMBERS = b"\x01"
    TEXTS = b"\x02"
    BLOBS = b"\x03"
    REGISTERS = b"\x04"
    BUCKETS = b"\x05"
    CHOSEN = b"\x06"
    OWN = b"\x07"


class Packing(Generic[Body]):
    """Packs what fits ``body`` as ``format``, and unpacks it again."""

    def __init__(self, format: Format, body: Any) -> None:
        self._first: bytes = format.value
        self._encode = msgspec.msgpack.Encoder(order="deterministic").encode
        self._decode = msgspec.msgpack.Decoder(body).decode

    def pack(self, body: Body) -> bytes:
        return self._first + self._encode(body)

    def unpack(self, partial: bytes) -> Body:
        """What was packed.

        Raises:
            TableError: the partial is of another format.
        """
        if partial[:1] != self._first:
            raise TableError(
                f"a partial is of format {partial[:1].hex()}, not {self._first.hex()}",
                hint="another kappa or another declaration wrote it: replay a new version",
            )
        body: Body = self._decode(memoryview(partial)[1:])
        return body


def groups(lists: pl.Series) -> Iterator[list[Any]]:
    """The elements of each list."""
    elements = lists.explode(empty_as_null=False).to_list()
    ends = list(accumulate(lists.list.len().to_list()))
    return (elements[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


def steps(values: list[int]) -> list[int]:
    """Ascending values as the first and the way from each to the next; `accumulate` undoes it."""
    return [*values[:1], *map(sub, values[1:], values)]


def binary(partials: list[bytes | None]) -> pl.Series:
    """Partials as a column."""
    return pl.Series(partials, dtype=pl.Binary)
