"""``kappa verify``: whether history, replayed once more, gives the rows a version has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kappa.config import Settings
from kappa.errors import NotRepeated, UnknownVersion
from kappa.operations.database import database
from kappa.runtime.replay.repeat import Repeated, Stood, look, repeat
from kappa.runtime.worker.job import Report
from kappa.tables.publication import MAIN
from kappa.versions import records

__all__ = ["Verified", "VerifiedPart", "require_repeated", "verify"]


@dataclass(frozen=True)
class VerifiedPart:
    """One output: ``main``, a side output, ``late`` or ``dead_letters``.

    Attributes:
        rows: of the version.
        rows_again: of the second replay.
        equal: whether all rows are the same.
    """

    output: str
    rows: int
    rows_again: int
    digest: str
    digest_again: str
    equal: bool


@dataclass(frozen=True)
class Verified:
    """What a second replay found.

    Attributes:
        records: read by the second replay.
        as_built: whether the rows are still those that the build left; None where that cannot
            be told, because the version has read on since or its build stored no digest.
    """

    processor: str
    version: int
    parts: tuple[VerifiedPart, ...]
    as_built: bool | None
    records: int
    workers: int
    batch_size: int
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether everything is as it should be."""
        return self.as_built is not False and all(part.equal for part in self.parts)


def verify(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    workers: int | None,
    batch_size: int | None,
    on_plan: Callable[[int], None],
    on_progress: Callable[[int], None],
) -> Verified:
    """Replays a version again, beside it, and compares; the one in service if none is given.

    Raises:
        UnknownVersion: there is no such version.
        KappaError: see kappa.runtime.replay.repeat.repeat.
    """

    def listen(report: Report) -> None:
        on_progress(report.offsets)

    with database(settings) as engine:
        with engine.connect() as connection:
            owner = records.find_processor(connection, name)
            if owner is None:
                raise records.unrecorded(connection, name)
        number = version or owner.active_version
        if number is None:
            raise UnknownVersion(
                f"no version of {name!r} serves", hint=f"name one: kappa verify {name} --version 1"
            )
        stood = look(engine, name, number)
    again = repeat(
        settings,
        stood,
        workers=workers,
        batch_size=batch_size,
        on_plan=on_plan,
        listener=listen,
    )
    return _verified(stood, again)


def require_repeated(found: Verified) -> None:
    """Passes if the second replay came to the same, and the rows are those of the build.

    Raises:
        NotRepeated: they are not.
    """
    if found.equal:
        return
    unlike = [part.output for part in found.parts if not part.equal]
    name = f"{found.processor} version {found.version}"
    if not unlike:
        raise NotRepeated(
            f"the rows of {name} are not those that its build left, though it has not read on",
            hint="somebody has changed the table; the second replay has come to the same",
        )
    raise NotRepeated(
        f"history, replayed again, has given {name} other rows",
        outputs=", ".join(unlike),
        hint="somebody has changed a table, or the processor gives other rows each time: test it"
        " with the driver of kappa.testing",
    )


def _verified(stood: Stood, again: Repeated) -> Verified:
    parts = tuple(
        VerifiedPart(
            output=output,
            rows=_rows(digest),
            rows_again=_rows(again.digests[output]),
            digest=digest,
            digest_again=again.digests[output],
            equal=digest == again.digests[output],
        )
        for output, digest in stood.digests.items()
    )
    built = stood.built
    return Verified(
        processor=stood.record.processor,
        version=stood.record.version,
        parts=parts,
        as_built=None if built is None else built == stood.digests[MAIN],
        records=again.records,
        workers=again.workers,
        batch_size=again.batch_size,
        seconds=round(again.seconds, 3),
    )


def _rows(digest: str) -> int:
    """A digest begins with the number of rows."""
    return int(digest.partition("-")[0])
