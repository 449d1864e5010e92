"""``kappa status``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.operations.status import VersionStatus, status


def command(as_json: Json = False) -> None:
    """Show where every version of every processor stands.

    Example: kappa status
    """
    emit(status(config.load()), as_json=as_json, render=_render)


def _render(versions: tuple[VersionStatus, ...]) -> None:
    if not versions:
        out().print("no version has been built yet")
        err().print("hint: 'kappa processors list' shows what can be replayed")
        return
    table(
        ["processor", "version", "state", "topic", "records", "late", "dead", "lag"],
        [
            (
                v.processor,
                v.version,
                v.state,
                ", ".join(v.topics),
                v.records,
                v.late,
                v.dead,
                v.lag,
            )
            for v in versions
        ],
    )
    for v in versions:
        for line in (*_notes(v), *(f"warning: {override}" for override in v.overrides)):
            err().print(f"{v.processor} version {v.version}: {line}", markup=False)


def _notes(version: VersionStatus) -> Iterator[str]:
    """What only some versions have to say."""
    if version.corrections:
        yield f"windows that were final have been corrected {version.corrections} times"
    if version.timer_due is not None and version.timer_due < datetime.now(UTC):
        yield (
            f"a timer is due since {version.timer_due:%Y-%m-%d %H:%M:%S} UTC: it fires with the"
            " next record of its partition"
        )
