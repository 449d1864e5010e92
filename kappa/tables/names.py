"""The names kappa gives to relations in PostgreSQL, and the check that they will fit.

A processor ``revenue`` owns, for its version 2::

    revenue                       the view readers use
    revenue__v2                   its rows
    revenue__v2__key              the index that makes their key unique
    revenue__v2__end              the index that finds windows by their end
    revenue__v2__late             records that came too late for it
    revenue__v2__late__key        the index that makes *their* key unique
    revenue__v2__state            what a keyed processor remembers of each key
    revenue__v2__state__event     the index of its event-time timers
    revenue__v2__state__clock     the index of its processing-time timers
    revenue__v2__refused          the rows of its side output "refused"
    revenue__refused              the view of them

A user's name never holds two underscores in a row, so no two processors can meet in one name.
"""

from __future__ import annotations

import re

from kappa.errors import InvalidName

MAX_BYTES = 63
"""PostgreSQL cuts longer identifiers silently: two versions would share one table."""

MAX_VERSION = 99_999

_PATTERN = re.compile(r"[a-z](_?[a-z0-9])*")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM_COLUMNS = ("ctid", "tableoid", "xmin", "xmax", "cmin", "cmax")
_RESERVED = ("kappa_", "pg_")
_TAKEN_OUTPUTS = ("dead_letters", "end", "key", "late", "main", "new", "state")
_VERSION_LIKE = re.compile(r"v[0-9]+")
"""A view of this name would be called as a version's table is."""
_LONGEST_SUFFIX = f"__v{MAX_VERSION}__late__key"
MAX_NAME_BYTES = MAX_BYTES - len(_LONGEST_SUFFIX)


def check_name(name: str) -> str:
    """Returns ``name`` if a processor can be called that.

    Raises:
        InvalidName: it is not lower-case words joined by single underscores, or PostgreSQL
            would cut a name made from it, or it begins like kappa's or PostgreSQL's own.
    """
    if not _PATTERN.fullmatch(name):
        raise InvalidName(
            f"{name!r} cannot be a name",
            hint="use lower-case letters and digits, words joined by single underscores",
        )
    if name.startswith(_RESERVED):
        raise InvalidName(
            f"{name!r} begins with a reserved prefix", hint="kappa_ and pg_ are taken"
        )
    if len(name) > MAX_NAME_BYTES:
        raise InvalidName(
            f"{name!r} is too long for the tables made from it",
            bytes=len(name),
            most=MAX_NAME_BYTES,
            hint="give it a shorter name",
        )
    return name


def check_column(name: str) -> str:
    """Returns ``name`` if a column can be called that: an Avro name PostgreSQL would not cut.

    Raises:
        InvalidName: it is not, or every table of PostgreSQL already has a column of this name.
    """
    if not _COLUMN.fullmatch(name) or len(name) > MAX_BYTES or name in _SYSTEM_COLUMNS:
        raise InvalidName(f"{name!r} cannot be a column's name", most=MAX_BYTES)
    return name


def check_version(version: int) -> int:
    """Returns ``version`` if it is between 1 and ``MAX_VERSION``; else raises InvalidName."""
    if not 1 <= version <= MAX_VERSION:
        raise InvalidName(f"version {version} is not between 1 and {MAX_VERSION}")
    return version


def view_name(processor: str) -> str:
    return check_name(processor)


def table_name(processor: str, version: int) -> str:
    return f"{check_name(processor)}__v{check_version(version)}"


def late_name(processor: str, version: int) -> str:
    return f"{table_name(processor, version)}__late"


def state_name(processor: str, version: int) -> str:
    """The table of a keyed processor's state."""
    return f"{table_name(processor, version)}__state"


def check_keyed_name(processor: str) -> str:
    """Returns ``processor`` if a keyed processor can be called that.

    Raises:
        InvalidName: PostgreSQL would cut the name of an index on its state.
    """
    _check_fits(check_name(processor), f"__v{MAX_VERSION}__state__event")
    return processor


def event_timers_name(state: str) -> str:
    """The index on a state table that finds its event-time timers."""
    return f"{state}__event"


def processing_timers_name(state: str) -> str:
    """The index on a state table that finds its processing-time timers."""
    return f"{state}__clock"


def check_output(processor: str, output: str) -> str:
    """Returns ``output`` if a side output of ``processor`` can be called that.

    Raises:
        InvalidName: it is not lower-case words joined by single underscores, or one of kappa's
            own names, or PostgreSQL would cut a name made from it.
    """
    if not _PATTERN.fullmatch(output):
        raise InvalidName(
            f"{output!r} cannot be an output's name",
            processor=processor,
            hint="use lower-case letters and digits, words joined by single underscores",
        )
    if output in _TAKEN_OUTPUTS or _VERSION_LIKE.fullmatch(output):
        raise InvalidName(
            f"{output!r} is a name of kappa's own",
            processor=processor,
            hint="give the output another name",
        )
    _check_fits(check_name(processor), f"__v{MAX_VERSION}__{output}__key")
    return output


def side_name(processor: str, version: int, output: str) -> str:
    """The table of a side output."""
    return f"{table_name(processor, version)}__{check_output(processor, output)}"


def side_view_name(processor: str, output: str) -> str:
    """The view that readers of a side output use."""
    return f"{view_name(processor)}__{check_output(processor, output)}"


def key_name(table: str) -> str:
    """The constraint (and index) that keeps one row per key in ``table``."""
    return f"{table}__key"


def ends_name(table: str) -> str:
    """The index on the ends of the windows in ``table``."""
    return f"{table}__end"


def _check_fits(processor: str, suffix: str) -> None:
    if len(processor) + len(suffix) > MAX_BYTES:
        raise InvalidName(
            f"{processor + suffix!r} is a longer name than PostgreSQL takes",
            bytes=len(processor) + len(suffix),
            most=MAX_BYTES,
            hint="give the processor or the output a shorter name",
        )
