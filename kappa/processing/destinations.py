"""Where a processor sends its outputs on to, besides its tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds

Guarantee = Literal["exactly_once", "at_least_once", "at_most_once"]

MAIN, LATE = "main", "late"
"""The outputs that are kappa's own: the rows of the table, and the late records."""

_LONGEST_TIMEOUT_MS = 15_000
"""A relay that says nothing for a minute counts as hanging, and it says nothing in a request, which
may try two addresses, wait for the answer, and wait for its end."""

_UNSENDABLE = re.compile(r"[^!-~]")
"""What a request cannot hold in its path: spaces, control characters and all beyond ASCII."""

_GUARANTEES = ("exactly_once", "at_least_once", "at_most_once")


@dataclass(frozen=True)
class ToTopic:
    """Sends an output to a Kafka topic, as Avro with a registered schema.

    Attributes:
        topic: its name. It is made when it is not there, and marked as derived.
        guarantee: ``"exactly_once"`` for consumers that read committed records;
            ``"at_least_once"`` repeats what was under way when the relay was killed,
            ``"at_most_once"`` loses it.
        partitions: of a topic that is made; None for as many as the source has.
    """

    topic: str
    guarantee: Guarantee = "exactly_once"
    partitions: int | None = None

    def __post_init__(self) -> None:
        _check_guarantee(self.guarantee, f"the topic {self.topic!r}")
        if not isinstance(self.topic, str) or not self.topic:
            raise DeclarationError(
                "an output needs the name of a topic to go to", hint='such as ToTopic("alerts")'
            )
        if self.partitions is not None and not _is_count(self.partitions, 1):
            raise DeclarationError(
                f"the topic {self.topic!r} cannot have {self.partitions!r} partitions",
                hint="give a number from one on, or leave it out for as many as the source has",
            )


@dataclass(frozen=True)
class ToWebhook:
    """Sends an output to an HTTP server, one POST of JSON per row, in source order.

    Every request has the header ``Idempotency-Key``: the row's place in its source.

    Attributes:
        url: ``http://…`` or ``https://…``, without a user or password; its path and query in
            ASCII, as they are sent.
        guarantee: ``"at_least_once"``; or ``"at_most_once"``, which tries once.
        retries: how often a row is tried again before it is set aside.
        timeout: how long each step of a request may take: to connect, to be answered; 15 seconds
            at most.
        token_variable: the environment variable whose value is sent as a bearer token, so that
            no secret stands in code or tables; None for no token.
    """

    url: str
    guarantee: Guarantee = "at_least_once"
    retries: int = 10
    timeout: Duration = "10s"
    token_variable: str | None = None
    timeout_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_guarantee(self.guarantee, "the webhook")
        if self.guarantee == "exactly_once":
            raise DeclarationError(
                "a webhook cannot be exactly once: a request that got no answer was carried out"
                " or not, and nobody can tell",
                hint='use guarantee="at_least_once" and have the server ignore an Idempotency-Key'
                " that it has seen",
            )
        _check_url(self.url)
        if not _is_count(self.retries, 0):
            raise DeclarationError(
                f"a webhook cannot be tried again {self.retries!r} times",
                hint="give a number from zero on",
            )
        object.__setattr__(self, "timeout_ms", milliseconds(self.timeout, "timeout"))
        if self.timeout_ms > _LONGEST_TIMEOUT_MS:
            raise DeclarationError(
                f"a webhook is waited for {_LONGEST_TIMEOUT_MS // 1000} seconds at most, not"
                f" {self.timeout}",
                hint="answer at once and do the work afterwards",
            )


Destination = ToTopic | ToWebhook


def check_publish(
    publish: Mapping[str, Destination],
    *,
    source: str,
    per_record: Collection[str],
    merged: Collection[str] = (),
    where: str,
) -> None:
    """Whether what a processor sends on are outputs that it has, to places that can be.

    ``per_record`` names the outputs whose rows each come from one record, ``merged`` those whose
    rows change; ``source`` is the topic it reads.

    Raises:
        DeclarationError: something does not fit.
    """
    for output, destination in publish.items():
        if output not in {*per_record, *merged}:
            raise DeclarationError(
                f"{where} has no output {output!r} to publish",
                hint="its outputs are " + ", ".join([*merged, *per_record]),
            )
        if not isinstance(destination, Destination):
            raise DeclarationError(
                f"{where}: the output {output!r} goes to {destination!r}",
                hint="use ToTopic(…) or ToWebhook(…)",
            )
        if isinstance(destination, ToWebhook) and output in merged:
            raise DeclarationError(
                f"{where}: the rows of {output!r} change, and a webhook takes rows that come from"
                " one record each: they alone have a place that tells a repetition",
                hint="publish it to a topic",
            )
        if isinstance(destination, ToTopic) and destination.topic == source:
            raise DeclarationError(
                f"{where}: the output {output!r} would go to the topic it is made from",
                hint="name another topic",
            )
    topics = [to.topic for to in publish.values() if isinstance(to, ToTopic)]
    twice = sorted({topic for topic in topics if topics.count(topic) > 1})
    if twice:
        raise DeclarationError(
            f"{where}: two outputs go to the topic {twice[0]!r}",
            hint="give each a topic of its own",
        )


def _is_count(given: object, least: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= least


def _check_url(url: object) -> None:
    """Whether requests can be made to a URL, which may hold secrets: no error shows it."""
    parts = _parts(url)
    if parts is None or parts.scheme not in ("http", "https") or not _is_host(parts.hostname):
        raise DeclarationError(
            "a webhook's url begins with http:// or https:// and a host",
            hint='such as ToWebhook("https://example.org/alerts")',
        )
    if parts.username is not None or parts.password is not None:
        raise DeclarationError(
            "a webhook's url must not hold a user or password",
            hint="name an environment variable that holds a token: token_variable=…",
        )
    if not _has_port(parts):
        raise DeclarationError(
            "a webhook's url has a port that is none",
            hint="give a number from 1 to 65535, or leave it out",
        )
    if _UNSENDABLE.search(parts.path + parts.query):
        raise DeclarationError(
            "the path of a webhook's url holds characters that cannot be sent",
            hint="write them as in %20, which is a space",
        )


def _is_host(host: str | None) -> bool:
    """Whether a name can be looked up."""
    if not host or " " in host or not host.isprintable():
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _has_port(parts: SplitResult) -> bool:
    """Whether a URL's port can be connected to; that of its scheme can, where it names none."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _parts(url: object) -> SplitResult | None:
    """The parts of a URL; None where it has none."""
    try:
        return urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return None


def _check_guarantee(guarantee: str, of: str) -> None:
    if guarantee not in _GUARANTEES:
        raise DeclarationError(
            f"{of} has the guarantee {guarantee!r}", hint="use one of " + ", ".join(_GUARANTEES)
        )
