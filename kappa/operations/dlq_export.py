"""``kappa dlq export``: dead letters as JSON lines."""

from __future__ import annotations

import json
import os
import tempfile
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from kappa.config import Settings
from kappa.errors import ConfigError
from kappa.operations.database import reading
from kappa.operations.dlq import version_of
from kappa.tables import letters
from kappa.tables.letters import Choice, Letter


@dataclass(frozen=True)
class ExportedLetters:
    """How many letters are in the file now."""

    processor: str
    version: int
    file: Path
    letters: int


def export(
    settings: Settings, name: str, version: int | None, file: Path, *, error_class: str | None
) -> ExportedLetters:
    """Writes all letters of a version, or those of one class, in the order of their places.

    Keys and values are base64. The file appears once it is whole.

    Raises:
        ConfigError: the file exists, or cannot be written.
    """
    if file.exists():
        raise ConfigError(f"{file} exists already", hint="name another file, or remove it")
    try:
        handle, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with reading(settings) as connection, open(handle, "w", encoding="utf-8") as out:
            number = version_of(connection, name, version).version
            count = 0
            for letter in letters.each(connection, name, number, Choice(error_class=error_class)):
                out.write(json.dumps(_plain(letter), ensure_ascii=False) + "\n")
                count += 1
        os.link(unfinished, file)  # unlike a rename, it never replaces a file
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
    return ExportedLetters(name, number, file, count)


def _plain(letter: Letter) -> dict[str, Any]:
    return {field.name: _json(getattr(letter, field.name)) for field in fields(Letter)}


def _json(value: object) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value
