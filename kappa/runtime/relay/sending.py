"""The relay of one output: from the outbox to where the output goes, for the version that serves.

One relay sends an output at a time; one that starts fences off the one before, in PostgreSQL and
in Kafka. It can be killed at any moment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from tenacity import RetryCallState, wait_exponential

from kappa.config import Settings, require_postgres
from kappa.errors import KappaError, LogError
from kappa.runtime.processes import signature
from kappa.runtime.relay.lease import lease
from kappa.runtime.relay.relaying import Channel, Sending
from kappa.runtime.relay.topic import open_topic
from kappa.runtime.relay.webhook import WebhookRelay
from kappa.tables import relays
from kappa.tables.engine import RETRYABLE, connect
from kappa.tables.layout import Layout
from kappa.tables.news import News
from kappa.tables.publication import TopicTarget
from kappa.versions import records

_IDLE_S = 0.25
"""How long to wait for news before looking whether to stop; whatever is written is news."""

_BACKOFF = wait_exponential(multiplier=0.05, max=5.0)


@dataclass(frozen=True)
class Relayed:
    """What a relay has done since it last told.

    Attributes:
        sent: records published or requests answered, tombstones included.
        set_aside: rows that no try could deliver.
        failure: what it met and tries again; None where all is well.
    """

    processor: str
    output: str
    sent: int = 0
    set_aside: int = 0
    failure: KappaError | None = None

    def followed_by(self, later: Relayed) -> Relayed:
        """All that was done, and what was met last."""
        sent, set_aside = self.sent + later.sent, self.set_aside + later.set_aside
        return replace(later, sent=sent, set_aside=set_aside)


Listener = Callable[[Relayed], None]


def relays_of(layout: Layout) -> tuple[str, ...]:
    """The outputs of a version that a relay sends, by name."""
    return tuple(sent.output for sent in layout.publishes)


def run_relay(
    settings: Settings,
    processor: str,
    output: str,
    stop: threading.Event,
    listener: Listener = lambda relayed: None,
) -> None:
    """Sends one output until told to stop; ``listener`` hears of every batch and of what failed,
    and every quarter of a second that there is nothing to send.

    It follows the version that serves, and waits where none does or where that one does not have
    the output. Lost servers are looked for again with growing pauses, for as long as it takes.

    Raises:
        RelayFenced: another relay has taken the output over.
        KappaError: something that trying again does not mend.
    """
    engine = connect(require_postgres(settings))
    epoch: int | None = None
    failures = 0

    def tell(sent: int, set_aside: int) -> None:
        nonlocal failures
        failures = 0
        listener(Relayed(processor, output, sent, set_aside))

    with ExitStack() as stack:
        stack.callback(engine.dispose)
        while not stop.is_set():
            try:
                if epoch is None:
                    epoch = _claim(engine, processor, output)
                    url = require_postgres(settings)
                    stack.enter_context(lease(url, processor, output, epoch))
                _send(Sending(settings, engine, processor, output, epoch, stop, tell))
            except (LogError, *RETRYABLE) as error:
                # A producer may also be fenced by its own delay: PostgreSQL says who is in charge.
                failures += 1
                listener(Relayed(processor, output, failure=error))
                stop.wait(_pause_s(failures))


def _claim(engine: Engine, processor: str, output: str) -> int:
    with engine.begin() as connection:
        return relays.claim(connection, processor, output, signature(os.getpid()))


def _send(sending: Sending) -> None:
    """Sends what waits, for one version after another, until told to stop."""
    with News(sending.engine, sending.processor) as news:
        while not sending.stop.is_set():
            layout = _serving(sending)
            sent = None if layout is None else layout.publication(sending.output)
            if layout is None or sent is None:
                sending.tell(0, 0)
                news.wait(_IDLE_S)
                continue
            with ExitStack() as stack:
                channel: Channel = (
                    stack.enter_context(open_topic(sending, layout, sent))
                    if isinstance(sent.target, TopicTarget)
                    else stack.enter_context(WebhookRelay(sending, layout, sent))
                )
                _drain(sending, channel, news)


def _drain(sending: Sending, channel: Channel, news: News) -> None:
    """Sends one version's output until another one serves."""
    while not sending.stop.is_set():
        moved = channel.step()
        if moved is None:
            return
        if not moved:
            sending.tell(0, 0)
            news.wait(_IDLE_S)


def _serving(sending: Sending) -> Layout | None:
    """The layout of the version that serves; None where there is none."""
    with sending.engine.begin() as connection:
        version = sending.serving(connection)
        if version is None:
            return None
        return records.require(connection, sending.processor, version).layout


def _pause_s(failures: int) -> float:
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = failures
    return _BACKOFF(state)
