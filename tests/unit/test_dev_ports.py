"""Ports: the same again while they are free, others when they are not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kappa.dev import ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_every_name_gets_a_free_port_of_its_own() -> None:
    chosen = ports.choose(["a", "b", "c"], {})
    assert list(chosen) == ["a", "b", "c"]
    assert len(set(chosen.values())) == 3
    assert all(ports.is_free(port) for port in chosen.values())


def test_previous_ports_are_kept() -> None:
    first = ports.choose(["a", "b"], {})
    assert ports.choose(["a", "b"], first) == first


def test_a_previous_port_that_was_taken_is_replaced(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.choose(["a"], {"a": taken})["a"] != taken


def test_two_names_never_share_a_previous_port() -> None:
    port = ports.choose(["a"], {})["a"]
    chosen = ports.choose(["a", "b"], {"a": port, "b": port})
    assert chosen["a"] == port
    assert chosen["b"] != port


def test_a_listener_accepts(taken: int) -> None:
    assert ports.accepts(taken)
    assert not ports.accepts(ports.choose(["a"], {})["a"])
