"""The state of a key as bytes: MessagePack of a version, the states by name, and the timers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import msgspec

from kappa.processing.keyed.keys import Key
from kappa.processing.keyed.state import State
from kappa.processing.keyed.timers import EVENT, EXPIRY, PROCESSING, TimerId

FORMAT = 1
"""The shape of what is stored: format, states, expiries, event timers, processing timers."""

_KINDS = (EXPIRY, EVENT, PROCESSING)


def state_text(states: Mapping[str, State], *, where: str) -> str:
    """What is stored of a key, as text: stored states can be read where it is the same.

    Raises:
        DeclarationError: a state cannot hold values of its declared type.
    """
    lines = (f"{name}: {states[name].text(where=_of(name, where))}" for name in sorted(states))
    return "\n".join([f"format {FORMAT}", *lines])


class KeyCodec:
    """Turns keys into bytes and back. Equal keys have equal bytes.

    Args:
        states: the declared states, in the order of a key's values.
    """

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = list(states.values())
        fields = [(name, Optional[state.stored_type], None) for name, state in states.items()]  # noqa: UP045
        self._values: Any = msgspec.defstruct("Values", fields, omit_defaults=True)
        timers = dict[str, int]
        shape = tuple[int, self._values, timers, timers, timers]  # type: ignore[name-defined]
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._decoder = msgspec.msgpack.Decoder(shape)
        self._names = list(states)

    def encode(self, key: Key) -> bytes:
        """The key's states and timers."""
        held = zip(self._states, key.values, strict=True)
        values = self._values(*(state.to_stored(value) for state, value in held))
        timers: list[dict[str, int]] = [{} for _ in _KINDS]
        for (kind, name), at in key.timers.items():
            timers[kind][name] = at
        return self._encoder.encode((FORMAT, values, *timers))

    def decode(self, stored: bytes) -> tuple[list[Any], dict[TimerId, int]]:
        """The states, in the order of declaration, and the timers."""
        _, values, *timers = self._decoder.decode(stored)
        held = [
            state.from_stored(getattr(values, name))
            for name, state in zip(self._names, self._states, strict=True)
        ]
        found = ((kind, timers[kind]) for kind in _KINDS)
        return held, {(kind, name): at for kind, named in found for name, at in named.items()}


def _of(name: str, where: str) -> str:
    return f"{where}, state {name!r}"
