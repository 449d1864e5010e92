"""Many relays for one output, of which one sends: the others stand by."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from kappa.config import Settings, require_postgres
from kappa.errors import RelayFenced
from kappa.runtime.processes import Desk
from kappa.runtime.relay.sending import Listener, Relayed, run_relay
from kappa.tables import relays
from kappa.tables.engine import RETRYABLE, connect
from kappa.telemetry.logs import configure_logs

_LOOK_S = 1.0


@dataclass(frozen=True)
class Relaying:
    """Which output a relay process sends."""

    settings: Settings
    processor: str
    output: str


def relay(task: Relaying, desk: Desk) -> None:
    """The work of a relay process: sends the output whenever no other relay does.

    Raises:
        KappaError: something that trying again does not mend.
    """
    configure_logs(task.settings.telemetry.log_form, task.settings.telemetry.log_level)
    stand_by(task.settings, task.processor, task.output, desk.stopping, desk.send)


def stand_by(
    settings: Settings,
    processor: str,
    output: str,
    stop: threading.Event,
    listener: Listener,
) -> None:
    """Waits until nobody sends the output, then sends it, until told to stop.

    Whoever is replaced after all, because it was paused for long, stands by again.

    Raises:
        KappaError: something that trying again does not mend.
    """
    engine = connect(require_postgres(settings))
    try:
        while not stop.is_set():
            try:
                with engine.connect() as connection:
                    vacant = relays.is_vacant(connection, processor, output)
            except RETRYABLE as error:
                listener(Relayed(processor, output, failure=error))
                vacant = False
            if not vacant:
                listener(Relayed(processor, output))
                stop.wait(_LOOK_S)
                continue
            try:
                run_relay(settings, processor, output, stop, listener)
            except RelayFenced:
                continue
    finally:
        engine.dispose()
