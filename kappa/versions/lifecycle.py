"""The states of a version and the steps between them.

    ┌──────────┐  built   ┌───────┐ promote ┌─────────┐  cannot win  ┌──────────┐
    │ building │ ───────▶ │ ready │ ──────▶ │ serving │ ───────────▶ │ draining │
    └──────────┘          └───────┘         └─────────┘ ◀─────────── └──────────┘
      │  ▲                    │               │     ▲     gives up         │
      ▼  │ resumed            │    superseded │     │ rollback             │ superseded
    ┌──────────┐              │               ▼     │                      │
    │  failed  │              │             ┌─────────┐                    │
    └──────────┘              │             │ standby │ ◀──────────────────┘
      │  (building too)       │             └─────────┘
      └───────────────────────┴───────────────┴──────▶ retired, for good

At most one version of a processor is serving or draining: the one its view selects from.
"""

from __future__ import annotations

from enum import Enum

from kappa.errors import IllegalTransition


class State(Enum):
    """Where a version stands. The value is what is stored and shown."""

    BUILDING = "building"
    """Its tables are being filled from the start of history, without keys."""

    READY = "ready"
    """Built and kept up to date by a replay; no reader has seen it."""

    SERVING = "serving"
    """The view selects from it."""

    DRAINING = "draining"
    """The view still selects from it, but it takes no more input: a promote is under way."""

    STANDBY = "standby"
    """It served before and is kept, so that a rollback can take it back."""

    FAILED = "failed"
    """Its build ended with an error and can be resumed."""

    RETIRED = "retired"
    """Its tables are dropped. Its number is never used again."""


UNBUILT = frozenset({State.BUILDING, State.FAILED})
"""Its tables have no keys yet: only a replay of it reads for it, or it is given up."""

BUILT = frozenset({State.READY, State.SERVING, State.DRAINING, State.STANDBY})
"""Its tables have keys, and it is kept up to date."""

TRANSITIONS: dict[State, frozenset[State]] = {
    State.BUILDING: frozenset({State.READY, State.FAILED, State.RETIRED}),
    State.FAILED: frozenset({State.BUILDING, State.RETIRED}),
    State.READY: frozenset({State.SERVING, State.RETIRED}),
    State.SERVING: frozenset({State.DRAINING, State.STANDBY}),
    State.DRAINING: frozenset({State.SERVING, State.STANDBY}),
    State.STANDBY: frozenset({State.SERVING, State.RETIRED}),
    State.RETIRED: frozenset(),
}


def check_transition(processor: str, version: int, now: State, to: State) -> None:
    """Passes if a version may go from ``now`` to ``to``.

    Raises:
        IllegalTransition: it may not; says what it may do instead.
    """
    if to in TRANSITIONS[now]:
        return
    allowed = ", ".join(sorted(state.value for state in TRANSITIONS[now]))
    raise IllegalTransition(
        f"{processor} version {version} is {now.value} and cannot become {to.value}",
        hint=f"from {now.value} it can become: {allowed}" if allowed else "",
    )
