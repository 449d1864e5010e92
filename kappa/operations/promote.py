"""``kappa promote``: make a built version the one that readers see."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.config import Settings, require_postgres
from kappa.errors import UnknownVersion
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect
from kappa.versions import records, timeline
from kappa.versions.lifecycle import State
from kappa.versions.promote import promote as swap


@dataclass(frozen=True)
class PromotedVersion:
    """What a promote did.

    Attributes:
        from_version: the version that served before; None for a first promote.
        changed: False when the version was serving already.
        deployment_id: names this promote in the history.
        attempts: transactions begun; more than one where readers held the view.
    """

    processor: str
    from_version: int | None
    to_version: int
    changed: bool
    deployment_id: str | None
    attempts: int


def promote(settings: Settings, name: str, version: int | None) -> PromotedVersion:
    """Moves the view to ``version``, or to the highest version that is not retired.

    Raises:
        KappaError: see kappa.versions.promote.promote.
    """
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
            chosen = version
            if chosen is None:
                known = records.list_versions(connection, name)
                chosen = max((v.version for v in known if v.state is not State.RETIRED), default=0)
        if not chosen:
            raise UnknownVersion(
                f"no version of {name!r} has been built", hint=f"run 'kappa replay {name}' first"
            )
        done = swap(engine, name, chosen, who=timeline.who())
    finally:
        engine.dispose()
    return PromotedVersion(
        processor=done.processor,
        from_version=done.from_version,
        to_version=done.to_version,
        changed=done.changed,
        deployment_id=str(done.deployment_id) if done.deployment_id else None,
        attempts=done.attempts,
    )
