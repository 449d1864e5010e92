"""The end of a log file, and what is added to it from now on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 64 * 1024
_POLL_S = 0.2


@dataclass(frozen=True)
class LogLine:
    """One line of one server's log."""

    server: str
    text: str


def last(path: Path, lines: int) -> list[str]:
    """The last lines of a file, oldest first; none if there is no file."""
    if lines <= 0 or not path.exists():
        return []
    with path.open("rb") as file:
        position, text = file.seek(0, 2), b""
        while position > 0 and text.count(b"\n") <= lines:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            text = file.read(step) + text
    return text.decode(errors="replace").splitlines()[-lines:]


def follow(paths: Mapping[str, Path]) -> Iterator[LogLine]:
    """Every complete line added to the files after this call, without end.

    A file may be missing at first, and may be begun anew.
    """
    files: dict[str, BinaryIO] = {}
    for name, path in paths.items():
        if path.exists():
            files[name] = path.open("rb")
            files[name].seek(0, 2)
    return _lines(paths, files)


def _lines(paths: Mapping[str, Path], files: dict[str, BinaryIO]) -> Iterator[LogLine]:
    partial = dict.fromkeys(paths, b"")
    try:
        while True:
            quiet = True
            for name, path in paths.items():
                text = partial[name] + _added(name, path, files)
                *complete, partial[name] = text.split(b"\n")
                for line in complete:
                    quiet = False
                    yield LogLine(name, line.decode(errors="replace"))
            if quiet:
                time.sleep(_POLL_S)
    finally:
        for file in files.values():
            file.close()


def _added(name: str, path: Path, files: dict[str, BinaryIO]) -> bytes:
    """What was written since the last call; at a file's end, looks for a new file of its name."""
    if name in files and (text := files[name].read()):
        return text
    if path.exists() and (name not in files or not _same(files[name], path)):
        if name in files:
            files[name].close()
        files[name] = path.open("rb")
        return files[name].read()
    return b""


def _same(file: BinaryIO, path: Path) -> bool:
    return os.fstat(file.fileno()).st_ino == path.stat().st_ino
