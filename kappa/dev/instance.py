"""A server's software as it is installed, and one start of it as it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kappa.dev import files
from kappa.dev.processes import Launch

_NAME = "instance.json"


@dataclass(frozen=True)
class Installed:
    """A server that could be started now: ``launch`` configures it for the ports it is given."""

    version: str
    launch: Callable[[Mapping[str, int]], Launch]


@dataclass(frozen=True)
class Instance:
    """Belongs to the process that was started last, and outlives it: the ports are kept."""

    version: str
    ports: dict[str, int]

    @classmethod
    def read(cls, home: Path) -> Instance | None:
        """The one in this directory; ``None`` if no server was ever started there."""
        try:
            document = json.loads((home / _NAME).read_text())
        except FileNotFoundError:
            return None
        return cls(version=document["version"], ports=document["ports"])

    def write(self, home: Path) -> None:
        files.write_atomically(home / _NAME, json.dumps(asdict(self), indent=2) + "\n")
