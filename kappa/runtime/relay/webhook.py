"""Outputs to an HTTP server, one request per row, in the order of the records that caused them."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sqlalchemy import Connection
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
)
from tenacity.wait import wait_random_exponential

from kappa.errors import ConfigError
from kappa.runtime.relay.relaying import Sending
from kappa.tables import outbox
from kappa.tables.layout import Layout
from kappa.tables.outbox import Waiting
from kappa.tables.publication import AT_MOST_ONCE, Publication, WebhookTarget

_BATCH_ROWS = 50
"""Rows that may be sent again after a kill."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 30.0
_BEGINNING = 200
"""Characters of an answer that are kept with a row that was refused."""
_MOST_READ = 16 * 1024
"""Bytes of an answer; the connection is given up where there are more."""

_WORTH_TRYING = frozenset({408, 425, 429})
"""Refusals that pass; any other from 400 to 499 would be the same again."""


class _Undelivered(Exception):
    """A request that may succeed when it is made again."""


class _Refused(Exception):
    """A request that the server does not take."""


class WebhookRelay:
    """Posts rows; those that cannot be delivered are set aside and the rest goes on.

    Use it as a context manager.
    """

    def __init__(self, sending: Sending, layout: Layout, sent: Publication) -> None:
        assert isinstance(sent.target, WebhookTarget)
        self._sending = sending
        self._version = layout.version
        self._once = sent.guarantee == AT_MOST_ONCE
        # What is dropped before it is posted is lost to a kill: no more than the row under way.
        self._batch_rows = 1 if self._once else _BATCH_ROWS
        self._server = _Server(sent.target)
        self._delivered: list[Waiting] = []
        tries = 1 if self._once else 1 + sent.target.retries
        self._retrying = Retrying(
            retry=retry_if_exception_type(_Undelivered),
            stop=stop_any(stop_after_attempt(tries), stop_when_event_set(sending.stop)),
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            sleep=sleep_using_event(sending.stop),
            before=self._begin_try,
            before_sleep=self._begin_wait,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()

    def step(self) -> int | None:
        sending = self._sending
        rows: Sequence[Waiting] = ()
        with self._settled() as (connection, serving):
            if serving == self._version:
                of = (sending.processor, serving, sending.output)
                rows = outbox.waiting(connection, *of, self._batch_rows)
                if self._once:
                    outbox.drop(connection, *of, rows)
        if serving != self._version:
            return None
        left = deque(rows)
        while left and not sending.stop.is_set():
            self._deliver(left.popleft())
        if sending.stop.is_set():
            self._part(left)
        return len(rows)

    @contextmanager
    def _settled(self) -> Iterator[tuple[Connection, int | None]]:
        """A transaction in which what was delivered is dropped, which a promote may have made
        another version's; and the version that serves, until COMMIT.

        Row by row: one that was set aside may be given back among those that have left.
        """
        sending = self._sending
        with sending.engine.begin() as connection:
            serving = sending.serving(connection)
            if serving is not None:
                of = (sending.processor, serving, sending.output)
                outbox.drop(connection, *of, self._delivered)
            yield connection, serving
        self._delivered = []

    def _part(self, left: Collection[Waiting]) -> None:
        """Nothing that was delivered is sent again, and what was not begun is not forgotten."""
        sending = self._sending
        with self._settled() as (connection, serving):
            if self._once and serving == self._version:
                outbox.give_back(connection, sending.processor, serving, sending.output, left)

    def _begin_try(self, _: RetryCallState) -> None:
        """Tries may go on for minutes, and a process that says nothing for one is ended."""
        self._sending.tell(0, 0)

    def _begin_wait(self, _: RetryCallState) -> None:
        """However long this row is tried, the ones before it are not sent again."""
        self._sending.tell(0, 0)
        if self._delivered:
            with self._settled():
                pass

    def _deliver(self, row: Waiting) -> None:
        headers = {"Idempotency-Key": self._idempotency_key(row)}
        try:
            self._retrying(self._server.post, row.value or b"null", headers)
        except RetryError as error:
            if self._sending.stop.is_set() and not self._once:
                return  # not all tries were made: the next relay goes on with this row
            self._set_aside(row, str(error.last_attempt.exception()))
        except _Refused as error:
            self._set_aside(row, str(error))
        else:
            self._delivered.append(row)
            self._sending.tell(1, 0)

    def _set_aside(self, row: Waiting, reason: str) -> None:
        """What may be sent once only is gone already; it is counted all the same."""
        sending = self._sending
        if not self._once:
            with sending.engine.begin() as connection:
                if not sending.is_mine(connection, self._version):
                    return
                outbox.set_aside(
                    connection, sending.processor, self._version, sending.output, row, reason
                )
        sending.tell(0, 1)

    def _idempotency_key(self, row: Waiting) -> str:
        """The row's place in its source, the same however often it is sent."""
        sending = self._sending
        place = (row.topic, row.partition, row.offset, row.index)
        return "/".join(map(str, (sending.processor, sending.output, *place)))


class _Server:
    """A connection to the server, kept open between requests; redirects are not followed.

    Raises (when it is made):
        ConfigError: no header can hold the token.
    """

    def __init__(self, target: WebhookTarget) -> None:
        parts = urlsplit(target.url)
        assert parts.hostname is not None
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        port = parts.port or kind.default_port  # else the end of an IPv6 address is taken for one
        self._connection = kind(parts.hostname, port, timeout=target.timeout_ms / 1000)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "kappa"}
        token = _token(target.token_variable)
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Makes one request.

        Raises:
            _Undelivered: no answer, or one that asks to try again.
            _Refused: any other answer that is no success.
        """
        try:
            if self._is_over():
                self._connection.close()  # a request opens it again
            self._connection.request("POST", self._path, body, {**self._headers, **headers})
            answer = self._connection.getresponse()
            said = answer.read(_MOST_READ)
            if not answer.isclosed():  # there is more: what comes next would not be an answer
                self._connection.close()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise _Undelivered(f"no answer: {type(error).__name__}: {error}") from error
        if 200 <= answer.status < 300:
            return
        text = said.decode(errors="replace")[:_BEGINNING]
        reason = f"HTTP {answer.status} {answer.reason}: {text}".rstrip(": ")
        passing = answer.status >= 500 or answer.status in _WORTH_TRYING
        raise _Undelivered(reason) if passing else _Refused(reason)

    def close(self) -> None:
        self._connection.close()

    def _is_over(self) -> bool:
        """Whether the server has closed the connection since, or has said what nobody asked."""
        if self._connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return bool(poll.poll(0))


def _token(variable: str | None) -> str:
    """The token in an environment variable, without white space around it; empty for none.

    Raises:
        ConfigError: no header can hold it.
    """
    token = os.environ.get(variable, "").strip() if variable else ""
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            "a webhook's token holds something that a header cannot",
            variable=variable,
            hint="it is one line of printable ASCII characters",
        )
    return token
