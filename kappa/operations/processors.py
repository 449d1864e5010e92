"""Which processors are installed."""

from __future__ import annotations

from dataclasses import dataclass

from kappa import plugins


@dataclass(frozen=True)
class InstalledProcessor:
    """A processor version that a distribution announces; it has not been loaded."""

    name: str
    version: int
    distribution: str
    distribution_version: str
    declared_in: str
    problem: str


def list_processors() -> tuple[InstalledProcessor, ...]:
    """Every installed processor version. Runs no plugin code."""
    return tuple(
        InstalledProcessor(
            name=plugin.name,
            version=plugin.version,
            distribution=plugin.distribution,
            distribution_version=plugin.distribution_version,
            declared_in=plugin.object_path,
            problem=plugin.problem,
        )
        for plugin in plugins.installed()
    )
