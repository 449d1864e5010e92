"""Health and metrics over HTTP: answers, refusals, and an end that waits for nobody."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from kappa.errors import ConfigError
from kappa.telemetry.server import MOST_REQUESTS, TelemetryServer, parse_address


class Process:
    """What the server asks."""

    alive = True
    reasons: tuple[str, ...] = ()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def server(process: Process) -> Iterator[TelemetryServer]:
    registry = CollectorRegistry()
    Counter("seen", "Seen.", registry=registry).inc(3)
    made = TelemetryServer(
        "127.0.0.1:0",
        registry,
        alive=lambda: process.alive,
        not_ready=lambda: process.reasons,
    )
    with made:
        yield made


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_are_served(server: TelemetryServer) -> None:
    status, body = get(f"{server.url}/metrics")
    assert status == 200
    assert "seen_total 3.0" in body


def test_health_follows_the_main_loop(server: TelemetryServer, process: Process) -> None:
    assert get(f"{server.url}/healthz")[0] == 200
    process.alive = False
    status, body = get(f"{server.url}/healthz")
    assert status == 503
    assert "main loop" in json.loads(body)["reasons"][0]


def test_readiness_names_its_reasons_without_secrets(
    server: TelemetryServer, process: Process
) -> None:
    assert get(f"{server.url}/readyz") == (200, '{"ok": true, "reasons": []}\n')
    process.reasons = ("no answer from postgresql://me:canary@db/x",)
    status, body = get(f"{server.url}/readyz")
    assert status == 503
    assert json.loads(body)["reasons"] == ["no answer from postgresql://me:***@db/x"]


def test_other_paths_and_methods_are_refused(server: TelemetryServer) -> None:
    assert get(f"{server.url}/")[0] == 404
    assert get(f"{server.url}/metrics/x")[0] == 404
    request = urllib.request.Request(f"{server.url}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 405


def test_silent_clients_hold_few_threads_and_no_end(server: TelemetryServer) -> None:
    host, port = server.address.split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(3 * MOST_REQUESTS)]
    turned_away = [client for client in silent if closes_within(client, MOST_REQUESTS, silent)]
    assert turned_away
    assert threads(server) <= MOST_REQUESTS
    server.close()
    for client in silent:
        client.settimeout(10)
        assert client.recv(1) == b""
        client.close()


def closes_within(client: socket.socket, kept: int, clients: list[socket.socket]) -> bool:
    """Whether the server hung up on a client past those it has threads for."""
    if clients.index(client) < kept:
        return False
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def threads(server: TelemetryServer) -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_after_the_end_nobody_listens_and_the_port_is_free(server: TelemetryServer) -> None:
    server.close()
    host, port = server.address.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    again = TelemetryServer(
        server.address, CollectorRegistry(), alive=lambda: True, not_ready=tuple
    )
    again.close()  # never started


def test_an_address_in_use_is_a_named_error(server: TelemetryServer) -> None:
    with pytest.raises(ConfigError, match="cannot listen") as caught:
        TelemetryServer(server.address, CollectorRegistry(), alive=bool, not_ready=tuple)
    assert caught.value.detail["address"] == server.address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("metrics.example:65535", ("metrics.example", 65535)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["", "9464", "host:", "host:x", "host:70000", "host:-1", "h:²"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        parse_address(address)
