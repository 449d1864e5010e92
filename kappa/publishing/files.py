"""Which format an input has, and its records."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedIOBase
from pathlib import Path
from typing import cast

from kappa.errors import ConfigError
from kappa.publishing import delimited, jsonl, parquet
from kappa.publishing.chunks import Chunk
from kappa.publishing.target import Target


class Format(StrEnum):
    """What records can be read from."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


SUFFIXES = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


@dataclass(frozen=True, slots=True)
class Input:
    """Records in a file, or on standard input where ``path`` is None."""

    path: Path | None
    format: Format

    @property
    def rereadable(self) -> bool:
        """Whether it can be read twice: a regular file can, a pipe cannot."""
        return self.path is not None and self.path.is_file()

    def size(self) -> int | None:
        """What ``Chunk.consumed`` comes to in the end, where that can be known."""
        if self.path is None or not self.rereadable:
            return None
        if self.format is Format.PARQUET:
            return parquet.count_rows(self.path)
        return self.path.stat().st_size

    def chunks(self, target: Target) -> Iterator[Chunk]:
        """Its records, some thousand at a time.

        Raises:
            BadRecord: the input as a whole is not of its format, or does not fit the schema.
            ConfigError: the file cannot be opened.
        """
        if self.format is Format.PARQUET:
            assert self.path is not None
            yield from parquet.read(self.path, target.fields)
            return
        with self._open() as stream:
            if self.format is Format.CSV:
                yield from delimited.read(stream, target.fields)
            else:
                yield from jsonl.read(stream, target.fields, target.key)

    def _open(self) -> AbstractContextManager[BufferedIOBase]:
        if self.path is None:
            return nullcontext(cast(BufferedIOBase, sys.stdin.buffer))
        return _opened(self.path)


def choose(path: Path | None, given: Format | None) -> Input:
    """The input a user means; without a format it goes by the file's name.

    Raises:
        ConfigError: there is no such file, it cannot be opened, or its format does not follow from
            its name.
    """
    if path is not None and not path.exists():
        raise ConfigError("there is no such file", file=str(path))
    if path is not None and path.is_dir():
        raise ConfigError("this is a directory", file=str(path))
    if path is not None and path.is_file():
        _opened(path).close()
    chosen = given or (Format.JSONL if path is None else SUFFIXES.get(path.suffix.lower()))
    if chosen is None:
        raise ConfigError(
            "the format does not follow from the file's name",
            file=str(path),
            hint=f"say --format {'|'.join(Format)}",
        )
    source = Input(path, chosen)
    if chosen is Format.PARQUET and not source.rereadable:
        raise ConfigError("Parquet cannot be read from a pipe", hint="name a file")
    return source


def _opened(path: Path) -> BufferedIOBase:
    try:
        return cast(BufferedIOBase, path.open("rb"))
    except OSError as error:
        raise ConfigError(f"the file cannot be opened: {error.strerror}", file=str(path)) from error
