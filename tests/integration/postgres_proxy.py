"""A proxy in front of PostgreSQL that loses a COMMIT, or the answer to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Literal, Self

from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine

from kappa.tables.engine import driver


class CommitProxy:
    """Passes everything on until, after a view was moved, a COMMIT comes by.

    Args:
        after: the SQL that a COMMIT to be cut comes after, in the same session.
        most: how many are cut; None for all.

    ``cut`` is what is then lost, together with the connection: the ``commit`` itself, or the
    ``answer`` to it, or with the answer ``all`` connections that somebody makes later. Where it
    is a function, the connection is lost at once and the COMMIT goes on when that returns.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        after: bytes = b"CREATE OR REPLACE VIEW",
        most: int | None = None,
    ) -> None:
        self._after = after
        self.most = most
        with engine.connect() as conn:
            info = driver(conn).info
            self._host, self._port = info.host, info.port
            dsn, password = info.dsn, info.password
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = make_conninfo(dsn, host="127.0.0.1", port=port, password=password or None)
        self.cut: Literal["commit", "answer", "all"] | Callable[[], None] = "commit"
        self.cuts = 0

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            Thread(target=self._to_server, args=(client, server), daemon=True).start()
            Thread(target=_pump, args=(server, client), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    @property
    def _is_over(self) -> bool:
        """Whether as many were cut as are to be; sessions can come to it at once."""
        return self.most is not None and self.cuts >= self.most

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        moved = False
        while data := _receive(client):
            moved = moved or self._after in data
            if not (moved and b"COMMIT" in data) or self._is_over:
                with suppress(OSError):  # the server may have ended the session itself
                    server.sendall(data)
                continue
            self.cuts += 1
            if self.cut == "all":
                self._listener.shutdown(socket.SHUT_RDWR)
            client.shutdown(socket.SHUT_RDWR)
            if self.cut != "commit":
                if callable(self.cut):
                    self.cut()
                with suppress(OSError):
                    server.sendall(data)
                    # The server ends the session once it has carried out what it was sent.
                    server.shutdown(socket.SHUT_WR)
                return
            break
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    while data := _receive(source):
        try:
            target.sendall(data)
        except OSError:
            continue
    source.close()
    target.close()


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""
