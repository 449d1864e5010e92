"""Ports on loopback: free ones, and the same ones again after a restart."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence

from kappa.errors import DevError

LOOPBACK = "127.0.0.1"

# Below the ranges from which systems take the local ports of outgoing connections: a port that
# a server gives up while it restarts is not handed to some other program's connection.
_FIRST, _LAST = 20_000, 29_999
_TRIES = 1_000


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def choose(names: Sequence[str], previous: Mapping[str, int]) -> dict[str, int]:
    """A free port per name, the previous one where it is still free.

    Raises:
        DevError: no free port was found.
    """
    chosen: dict[str, int] = {}
    for name in names:
        candidates = [previous[name]] if name in previous else []
        candidates += random.sample(range(_FIRST, _LAST + 1), _TRIES)
        taken = set(chosen.values())
        port = next((c for c in candidates if c not in taken and is_free(c)), None)
        if port is None:
            raise DevError("no free port on loopback", first=_FIRST, last=_LAST)
        chosen[name] = port
    return chosen
