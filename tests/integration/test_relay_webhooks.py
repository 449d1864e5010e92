"""Outputs to a real HTTP server: repetitions that can be told, tries, and rows set aside."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa

from kappa.errors import ConfigError
from kappa.operations.promote import promote
from kappa.runtime.relay.sending import run_relay
from kappa.tables import bookkeeping, outbox
from tests.faults import Site, wait_until
from tests.integration.relay_scenes import Killed, relaying
from tests.readings import START_MS, Reading, good

ALERTS = """
import polars as pl
from kappa import KeyedProcessor, Source, ToWebhook

class Alerts(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}", event_time="at")
    key = "sensor"
    output = {{"sensor": pl.String()}}
    outputs = {{
        "alerts": {{"sensor": pl.String(), "code": pl.Int64(), "at": pl.Datetime("ms", "UTC")}}
    }}
    publish = {{
        "alerts": ToWebhook(
            "URL", guarantee="GUARANTEE", retries=3, token_variable="HOOK_TOKEN"
        )
    }}

    def on_event(self, event, ctx):
        ctx.emit_to("alerts", sensor=ctx.key, code=event.code, at=event.at)
        if event.code == 3:
            ctx.emit_to("alerts", sensor=ctx.key, code=-3)

processor = Alerts

class Next(Alerts):
    version = 2
"""

Answer = Callable[[dict[str, Any], int], int]
"""From the body and how often it has come the status to answer with; 0 ends the connection."""


@dataclass
class Hook:
    """An HTTP server and what it was asked.

    Attributes:
        endless: statuses whose answers end when the client hangs up.
        hangs_up: whether a connection ends after an answer that does not say so.
        hung_up: how many connections have ended.
    """

    url: str = ""
    endless: frozenset[int] = frozenset()
    hangs_up: bool = False
    hung_up: int = 0
    answer: Answer = lambda body, times: 200
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def bodies(self) -> list[int]:
        return [body["code"] for _, body in self.asked]


@contextmanager
def listening() -> Iterator[Hook]:
    hook = Hook()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in two packets would wait for the client's acknowledgement

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                hook.asked.append((self.headers["Idempotency-Key"], body))
                hook.tokens.add(self.headers["Authorization"])
                times = hook.bodies().count(body["code"])
            status = hook.answer(body, times)
            if status == 0:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(2 if status not in hook.endless else 10**12))
            self.end_headers()
            self.wfile.write(b"ok")
            with suppress(ConnectionError):
                while status in hook.endless:
                    self.wfile.write(b"." * 10_000)
            self.close_connection |= hook.hangs_up

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)
            with lock:
                hook.hung_up += 1

    with Server(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_port}/alerts?for=kappa"
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield hook
        finally:
            server.shutdown()


class Rationed:
    """Answers as many requests as were granted; the others wait."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._granted = threading.Semaphore(0)

    def grant(self, requests: int) -> None:
        self._granted.release(requests)

    def __call__(self, body: dict[str, Any], times: int) -> int:
        assert self._granted.acquire(timeout=60), "nobody grants this request"
        return self._answer(body, times)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as hook:
        yield hook


def serve(site: Site, hook: Hook, guarantee: str = "at_least_once") -> tuple[str, str]:
    """A processor that serves and sends its alerts to the hook; its name and topic.

    It has a second version, which is not built.
    """
    topic = site.topic(1)
    code = ALERTS.replace("URL", hook.url).replace("GUARANTEE", guarantee)
    name = site.processor(code, topic, versions=("Alerts", "Next"))
    site.replay(name)
    promote(site.settings, {name: 1})
    return name, topic


def publish(site: Site, name: str, topic: str, count: int) -> None:
    schema_id = site.schema_id(topic)
    rows = [good(schema_id, 0, Reading("s", n, 0.0, START_MS + n)) for n in range(count)]
    site.publish(topic, rows)
    site.replay(name)


def left(site: Site, name: str) -> list[tuple[Any, ...]]:
    rows = site.query(
        'SELECT "offset", index, error FROM kappa_outbox WHERE processor = :p ORDER BY 1, 2', p=name
    )
    return [tuple(row) for row in rows]


def give_back(site: Site, name: str, offset: int) -> None:
    with site.engine.begin() as connection:
        one = (bookkeeping.outbox.c.processor == name) & (bookkeeping.outbox.c.offset == offset)
        connection.execute(sa.update(bookkeeping.outbox).where(one).values(failed_at=None))


def test_rows_are_posted_in_order_with_their_place_as_key(
    site: Site, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "of-the-test\n")  # as files hold one
    name, topic = serve(site, hook)
    publish(site, name, topic, 5)
    with relaying(site.settings, name, "alerts") as told:
        wait_until("all is posted", lambda: len(hook.asked) >= 6, seconds=15)
        wait_until("the outbox is empty", lambda: left(site, name) == [])
    assert not [one.failure for one in told if one.failure]
    assert list(dict.fromkeys(hook.bodies())) == [0, 1, 2, 3, -3, 4]
    keys = list(dict.fromkeys(key for key, _ in hook.asked))
    assert keys[3:5] == [f"{name}/alerts/{topic}/0/3/0", f"{name}/alerts/{topic}/0/3/1"]
    assert hook.asked[0][1] == {"sensor": "s", "code": 0, "at": "2023-11-14T22:13:20+00:00"}
    assert hook.tokens == {"Bearer of-the-test"}


def test_what_may_pass_is_tried_again_and_what_does_not_is_set_aside(
    site: Site, hook: Hook
) -> None:
    def answer(body: dict[str, Any], times: int) -> int:
        if body["code"] == 1:  # the first time no answer, then an overloaded server
            return {1: 0, 2: 503}.get(times, 200)
        return {0: 200, 2: 500, 3: 422}.get(body["code"], 200)

    hook.answer = answer
    name, topic = serve(site, hook)
    publish(site, name, topic, 5)
    with relaying(site.settings, name, "alerts") as told:
        wait_until("the last is posted", lambda: 4 in hook.bodies())
        wait_until("the rest is sent", lambda: sum(one.sent for one in told) == 4)
        wait_until("what left is dropped", lambda: len(left(site, name)) == 2)
        assert hook.bodies() == [0, 1, 1, 1, 2, 2, 2, 2, 3, -3, 4]
        assert left(site, name) == [
            (2, 0, "HTTP 500 Internal Server Error: ok"),
            (3, 0, "HTTP 422 Unprocessable Entity: ok"),
        ]
        hook.answer = lambda body, times: 200
        give_back(site, name, 2)
        wait_until(
            "what was given back is sent", lambda: [row[0] for row in left(site, name)] == [3]
        )
        assert hook.bodies()[-1] == 2
    assert sum(one.set_aside for one in told) == 2
    with site.engine.connect() as connection:
        assert outbox.backlog(connection)[name, "alerts"] == (0, 1)
    by_body = {(body["code"], key) for key, body in hook.asked}
    assert len(by_body) == len(set(hook.bodies())), "a repetition has the same key"


def test_an_answer_without_end_is_not_read_to_its_end(site: Site, hook: Hook) -> None:
    hook.endless = frozenset({200, 422})
    hook.answer = lambda body, times: 422 if body["code"] == 1 else 200
    name, topic = serve(site, hook)
    publish(site, name, topic, 3)
    with relaying(site.settings, name, "alerts") as told:
        wait_until("all is sent", lambda: sum(one.sent for one in told) == 2)
        wait_until("what left is dropped", lambda: len(left(site, name)) == 1)
    assert hook.bodies() == [0, 1, 2]
    ((_, _, reason),) = left(site, name)
    assert reason == f"HTTP 422 Unprocessable Entity: ok{'.' * 198}"


def test_killed_relays_repeat_rows_that_can_be_told(site: Site, hook: Hook) -> None:
    hook.answer = rationed = Rationed(hook.answer)
    name, topic = serve(site, hook)
    publish(site, name, topic, 400)
    with Killed(site.settings, name, "alerts", batch_rows=1) as relay:
        for _ in range(4):
            relay.start()
            rationed.grant(60)
            relay.wait_until_it_sends()
            relay.kill()
        relay.start()
        rationed.grant(1_000)
        wait_until("the outbox is empty", lambda: left(site, name) == [])
    once = dict.fromkeys(key for key, _ in hook.asked)
    assert len(once) == 401
    bodies = {key: body["code"] for key, body in hook.asked}
    assert [bodies[key] for key in once] == [0, 1, 2, 3, -3, *range(4, 400)]


def test_at_most_once_never_repeats(site: Site, hook: Hook) -> None:
    hook.answer = rationed = Rationed(lambda body, times: 503 if body["code"] == 2 else 200)
    name, topic = serve(site, hook, "at_most_once")
    publish(site, name, topic, 300)
    with Killed(site.settings, name, "alerts", batch_rows=1) as relay:
        for _ in range(2):
            relay.start()
            rationed.grant(60)
            relay.wait_until_it_sends()
            relay.kill()
        relay.start()
        rationed.grant(1_000)
        wait_until("the last is posted", lambda: 299 in hook.bodies())
    assert len(hook.bodies()) == len(set(hook.bodies()))
    assert left(site, name) == []


def test_at_most_once_a_kill_costs_no_row_but_the_one_under_way(site: Site, hook: Hook) -> None:
    hook.answer = rationed = Rationed(hook.answer)
    name, topic = serve(site, hook, "at_most_once")
    publish(site, name, topic, 4)
    with Killed(site.settings, name, "alerts", batch_rows=1) as relay:
        relay.start()
        wait_until("the first is posted", lambda: hook.bodies() == [0])
        relay.kill()
        assert [row[0] for row in left(site, name)] == [1, 2, 3, 3]
        relay.start()
        rationed.grant(5)
        wait_until("the last is posted", lambda: -3 in hook.bodies())
    assert hook.bodies() == [0, 1, 2, 3, -3]


def test_a_connection_that_the_server_has_closed_since_costs_no_row(site: Site, hook: Hook) -> None:
    hook.hangs_up = True
    name, topic = serve(site, hook, "at_most_once")
    with relaying(site.settings, name, "alerts") as told:

        def post(count: int) -> None:
            publish(site, name, topic, 1)
            wait_until("it is tried", lambda: sum(o.sent + o.set_aside for o in told) == count)
            wait_until("the server has hung up", lambda: hook.hung_up == count)

        for count in (1, 2, 3):
            post(count)
    assert [key.split("/")[-2] for key, _ in hook.asked] == ["0", "1", "2"]


def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(
    site: Site, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, topic = serve(site, hook)
    publish(site, name, topic, 1)
    for token in ("of-the\ntest", "of-the-tést"):
        monkeypatch.setenv("HOOK_TOKEN", token)
        with pytest.raises(ConfigError) as refused:
            run_relay(site.settings, name, "alerts", threading.Event())
        assert refused.value.detail["variable"] == "HOOK_TOKEN"
        assert "of-the" not in "".join(traceback.format_exception(refused.value))
    assert hook.asked == []


def test_a_relay_that_tries_again_says_so_and_forgets_what_it_has_delivered(
    site: Site, hook: Hook
) -> None:
    """Each try and each wait is told; a kill meanwhile would not repeat the rows before."""
    before: list[list[tuple[Any, ...]]] = []

    def answer(body: dict[str, Any], times: int) -> int:
        if body["code"] != 2:
            return 200
        if times == 2:
            before.append(left(site, name))
        return 503 if times < 4 else 200

    hook.answer = answer
    name, topic = serve(site, hook)
    publish(site, name, topic, 3)
    with relaying(site.settings, name, "alerts") as told:
        wait_until("all is sent", lambda: sum(one.sent for one in told) == 3)
    assert [row[0] for row in before[0]] == [2]
    sent = [number for number, one in enumerate(told) if one.sent]
    assert sent[2] - sent[1] - 1 == 7, "four tries and three waits"


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("last", [5, 19])
def test_a_relay_that_is_stopped_neither_forgets_nor_repeats(
    site: Site, hook: Hook, guarantee: str, last: int
) -> None:
    """Among the rows of its batch, and at the last of them."""
    name, topic = serve(site, hook, guarantee)
    publish(site, name, topic, 20)
    stop = threading.Event()

    def answer(body: dict[str, Any], times: int) -> int:
        if body["code"] == last:
            stop.set()
        return 200

    hook.answer = answer
    run_relay(site.settings, name, "alerts", stop)
    assert hook.bodies() == [0, 1, 2, 3, -3, *range(4, last + 1)]
    assert [row[0] for row in left(site, name)] == list(range(last + 1, 20))
    with relaying(site.settings, name, "alerts"):
        wait_until("the outbox is empty", lambda: left(site, name) == [])
        wait_until("the last is posted", lambda: 19 in hook.bodies())
    assert hook.bodies()[last + 2 :] == list(range(last + 1, 20))


def test_what_was_delivered_when_another_version_began_to_serve_is_not_sent_by_that(
    site: Site, hook: Hook
) -> None:
    def answer(body: dict[str, Any], times: int) -> int:
        if body["code"] == 1:
            promote(site.settings, {name: 2})
        return 200

    name, topic = serve(site, hook)
    site.replay(name, version=2)
    publish(site, name, topic, 4)
    site.replay(name, version=2)
    hook.answer = answer
    with relaying(site.settings, name, "alerts"):
        wait_until("the outbox is empty", lambda: left(site, name) == [])
    assert hook.bodies() == [0, 1, 2, 3, -3]
