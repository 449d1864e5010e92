"""``kappa diff``: what would change for readers, before a version is promoted."""

from __future__ import annotations

from kappa.config import Settings
from kappa.errors import UnknownVersion, VersionsDiffer
from kappa.operations.amounts import percent
from kappa.operations.database import database
from kappa.versions import records, timeline
from kappa.versions.comparisons import Allowance, Comparison, OutputDifference, compare, lost
from kappa.versions.lifecycle import BUILT

__all__ = ["Allowance", "Comparison", "OutputDifference", "diff", "require_accepted"]


def diff(
    settings: Settings,
    name: str,
    from_version: int | None,
    to_version: int | None,
    *,
    allowance: Allowance,
    most_samples: int,
    timeout_s: float,
) -> Comparison:
    """Compares two versions at the same offsets and stores the result.

    Without ``from_version`` it is the one in service, without ``to_version`` the highest other
    one that is built.

    Raises:
        UnknownVersion: there are no two such versions.
        KappaError: see kappa.versions.comparisons.compare.
    """
    with database(settings) as engine:
        with engine.connect() as connection:
            known = records.list_versions(connection, name)
            owner = records.find_processor(connection, name)
        built = [record.version for record in known if record.state in BUILT]
        serving = None if owner is None else owner.active_version
        before, after = chosen(name, built, serving, from_version, to_version)
        return compare(
            engine,
            name,
            before,
            after,
            who=timeline.who(),
            allowance=allowance,
            most_samples=most_samples,
            timeout_s=timeout_s,
        )


def chosen(
    name: str,
    built: list[int],
    serving: int | None,
    from_version: int | None,
    to_version: int | None,
) -> tuple[int, int]:
    """The two versions to compare.

    Raises:
        UnknownVersion: there are no two.
    """
    before = from_version or serving
    if before is None:
        raise UnknownVersion(
            f"no version of {name!r} serves", hint=f"name one: kappa diff {name} --from 1"
        )
    after = to_version or max((one for one in built if one != before), default=None)
    if after is None:
        raise UnknownVersion(
            f"{name} has no other version that is built, to compare version {before} with",
            hint=f"kappa replay {name}",
        )
    return before, after


def require_accepted(found: Comparison, allowance: Allowance) -> None:
    """Passes if no more differs than was allowed.

    Raises:
        VersionsDiffer: more does.
    """
    if found.accepted:
        return
    gone = lost(found.outputs, found.removed)
    if gone:
        raise VersionsDiffer(
            f"{found.processor} version {found.to_version} removes, or shows in another type,"
            f" what readers of version {found.from_version} know: {', '.join(gone)}",
            hint="no share of rows allows that; if it is what the new version is for:"
            " --expect-diff",
        )
    raise VersionsDiffer(
        f"{found.processor} version {found.to_version} differs from version"
        f" {found.from_version} in {percent(found.rate)} of the rows,"
        f" {percent(allowance.max_rate)} are allowed",
        hint="if that is what the new version is for: --expect-diff, or a share with --max-diff",
    )
