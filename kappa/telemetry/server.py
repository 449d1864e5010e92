"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP, from a thread of the process itself."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from kappa.errors import ConfigError
from kappa.telemetry.logs import logger
from kappa.telemetry.redaction import redact_text

PATHS = ("/metrics", "/healthz", "/readyz")
DEFAULT_HOST = "127.0.0.1"
MOST_REQUESTS = 8
"""Requests answered at a time; more are turned away."""

_SILENCE_S = 5.0
_CLOSE_S = 5.0
_POLL_S = 0.05

_log = logger(__name__)

Alive = Callable[[], bool]
Reasons = Callable[[], Sequence[str]]


class TelemetryServer:
    """Serves from ``__enter__``/``start`` to ``close``. Use it as a context manager.

    Args:
        address: ``host:port``; without a host it listens on loopback only. Port 0 takes a free
            one, see ``address`` and ``url`` afterwards.
        alive: whether the process's main loop has turned lately; false makes /healthz a 503.
        not_ready: why the process is not ready to work; nothing makes /readyz a 200.

    Raises:
        ConfigError: the address is none, or is not to be had.
    """

    def __init__(
        self, address: str, registry: CollectorRegistry, *, alive: Alive, not_ready: Reasons
    ) -> None:
        host, port = parse_address(address)
        self._server = _listen(host, port, _router(registry, alive, not_ready))
        bound: tuple[Any, ...] = self._server.server_address
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.address = f"{shown}:{bound[1]}"
        self.url = f"http://{self.address}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="telemetry", daemon=True
        )

    def start(self) -> Self:
        """Begins to answer."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops listening and ends the requests under way."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_CLOSE_S)
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``:port`` or ``[v6]:port``.

    Raises:
        ConfigError: it is none of them.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(
            "this is no address to listen on",
            address=address,
            hint="write it as host:port, for example 127.0.0.1:9464; port 0 takes a free one",
        )
    return host or DEFAULT_HOST, int(port)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request, of which there are few; those under way are cut off at the end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this host's name, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a request failed", client=str(client_address), exc_info=True)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for request in self._open:
                with contextlib.suppress(OSError):  # it may be over by now
                    request.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("request", line=format % args, client=str(self.client_address[0]))


def _listen(host: str, port: int, app: WSGIApplication) -> _Server:
    try:
        server = _Server(host, port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen: {error.strerror or error}",
            address=f"{host}:{port}",
            hint="take another address, or port 0 for a free one",
        ) from error
    server.set_app(app)
    return server


def _router(registry: CollectorRegistry, alive: Alive, not_ready: Reasons) -> WSGIApplication:
    metrics = make_wsgi_app(registry)

    def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answered: Iterable[bytes] = metrics(environ, start_response)
            return answered
        if path == "/healthz":
            reasons = [] if alive() else ["the main loop has not turned lately"]
        elif path == "/readyz":
            reasons = [redact_text(reason) for reason in not_ready()]
        else:
            return _answer(start_response, "404 Not Found", {"paths": list(PATHS)})
        status = "503 Service Unavailable" if reasons else "200 OK"
        return _answer(start_response, status, {"ok": not reasons, "reasons": reasons})

    return route


def _answer(
    start_response: StartResponse, status: str, document: dict[str, object]
) -> Iterable[bytes]:
    body = json.dumps(document, ensure_ascii=False).encode() + b"\n"
    headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, headers)
    return [body]
