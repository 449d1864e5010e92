"""How ``kappa dlq`` prints for people."""

from __future__ import annotations

from datetime import UTC, datetime

from kappa.cli.output import err, out, table
from kappa.operations.dlq import DroppedLetters, Letter, ListedLetters, ShownLetters
from kappa.operations.dlq_check import CheckedLetters
from kappa.operations.dlq_export import ExportedLetters
from kappa.operations.dlq_retry import RetriedLetters

_LISTED = 20
_WIDTH = 80
_BYTES = 512


def render_list(found: ListedLetters) -> None:
    if not found.classes:
        out().print(f"{found.processor} version {found.version} has no dead letters")
        return
    table(
        ["error class", "letters", "open", "retried", "dropped"],
        [(one.error_class, one.letters, one.open, one.retried, one.dropped)
         for one in found.classes],
    )  # fmt: skip
    if found.newest:
        out().print()
        table(
            ["place", "error class", "state", "message"],
            [
                (one.place, one.error_class, _state(one), _line(one.timer, one.message))
                for one in found.newest
            ],
        )


def render_shown(found: ShownLetters) -> None:
    for number, letter in enumerate(found.letters):
        if number:
            out().print()
        facts = {
            "place": letter.place,
            "state": _state(letter),
            "timestamp": _moment(letter.timestamp),
            "copy of": None if letter.retry_of is None else _original(letter),
            "timer": letter.timer,
            "error": f"{letter.error_class}: {letter.message}",
            "key": _bytes(letter.key, letter.dropped_at),
            "value": _bytes(letter.value, letter.dropped_at),
        }
        for name, fact in facts.items():
            if fact is not None:
                out().print(f"{name:<11}{fact}")
        if letter.stack:
            out().print(letter.stack.rstrip())


def render_exported(done: ExportedLetters) -> None:
    out().print(f"{_count(done.letters, 'letter')} written to {done.file}")


def render_dropped(done: DroppedLetters) -> None:
    of = f"{done.processor} version {done.version}"
    out().print(f"{_count(done.dropped, 'letter')} of {of} dropped")


def render_checked(done: CheckedLetters) -> None:
    table(
        ["processor", "letters of", "run through", "fixed", "still failing", "timers"],
        [
            (
                done.processor,
                f"version {done.letters_of}",
                f"version {done.version}",
                done.fixed,
                len(done.failing),
                done.timers,
            )
        ],
    )
    if done.failing:
        out().print()
        table(
            ["place", "was", "is", "message"],
            [
                (one.place, one.was, one.error_class, _line(None, one.message))
                for one in done.failing[:_LISTED]
            ],
        )
    if len(done.failing) > _LISTED:
        err().print(f"{len(done.failing) - _LISTED:,} more; --json lists them all")
    if done.with_empty_state:
        err().print("note: the state at those records is not known: each met empty state")
    if done.as_copies:
        err().print("note: they were run as copies sent now, as 'kappa dlq retry' would")
    if done.timers:
        err().print("note: timers were left out: they depend on their key's state")


def render_retried(done: RetriedLetters) -> None:
    of = f"{done.processor} version {done.version}"
    if not done.copies:
        out().print(f"no open letters of records of {of}: nothing was published")
    else:
        out().print(f"{_count(done.copies, 'record')} published again to {', '.join(done.topics)}")
        err().print("note: the version takes them when it reads on")
    if done.timers:
        err().print(f"note: {_count(done.timers, 'letter')} of timers cannot be retried")


def _state(letter: Letter) -> str:
    if letter.retried_by is not None:
        return f"retried by {letter.retried_by}"
    if letter.dropped_at is not None:
        return "dropped"
    return "open" if letter.retry_of is None else f"copy of {_original(letter)}"


def _original(letter: Letter) -> str:
    """The place of the record that it is a copy of, in the same partition."""
    return f"{letter.place.rpartition('/')[0]}/{letter.retry_of}"


def _line(timer: str | None, message: str) -> str:
    text = " ".join((message if timer is None else f"{timer}: {message}").split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _moment(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def _bytes(data: bytes | None, dropped_at: datetime | None) -> str:
    """As text where they are text, else in hex, from their beginning."""
    if data is None:
        return "-" if dropped_at is None else "dropped"
    more = "" if len(data) <= _BYTES else f" … {len(data):,} bytes"
    shown = data[:_BYTES]
    text = shown.decode("utf-8", "replace")
    return (repr(text) if text.isprintable() and "\ufffd" not in text else shown.hex(" ")) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
