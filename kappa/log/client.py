"""From settings to the two Kafka clients, and the admin connection."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from kappa.config import KafkaSettings
from kappa.errors import BrokerUnavailable, ConfigError
from kappa.log.translation import from_confluent

CLIENT_ID = "kappa"
_PAUSE_S = 0.02

# Without any handler, Python would write aiokafka's every failed connection to stderr.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())

K = TypeVar("K")
T = TypeVar("T")


def confluent_config(kafka: KafkaSettings) -> dict[str, object]:
    """The settings as confluent-kafka's, with librdkafka kept from writing to stderr.

    Pass an ``error_cb`` of your own to learn why connections fail (see ``LastError``).
    """
    settings: dict[str, object | None] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": CLIENT_ID,
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": kafka.sasl_password and kafka.sasl_password.get_secret_value(),
        "ssl.ca.location": kafka.ssl_ca_location and str(kafka.ssl_ca_location),
        "ssl.certificate.location": kafka.ssl_certificate_location
        and str(kafka.ssl_certificate_location),
        "ssl.key.location": kafka.ssl_key_location and str(kafka.ssl_key_location),
        "ssl.key.password": kafka.ssl_key_password and kafka.ssl_key_password.get_secret_value(),
        "socket.timeout.ms": kafka.request_timeout_ms,
        "log_level": 0,
        "log.connection.close": False,
        "error_cb": _ignore,
    }
    return {name: value for name, value in settings.items() if value is not None}


def aiokafka_arguments(kafka: KafkaSettings) -> dict[str, Any]:
    """The settings as keyword arguments of aiokafka's clients.

    Raises:
        ConfigError: a certificate or key file cannot be read.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": CLIENT_ID,
        "request_timeout_ms": kafka.request_timeout_ms,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = _ssl_context(kafka)
    if kafka.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        password = kafka.sasl_password
        arguments["sasl_mechanism"] = kafka.sasl_mechanism or "PLAIN"
        arguments["sasl_plain_username"] = kafka.sasl_username
        arguments["sasl_plain_password"] = password and password.get_secret_value()
    return arguments


class LastError:
    """An ``error_cb`` that remembers why the client could not connect."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, error: KafkaError) -> None:
        # "n/n brokers are down" follows every failure and says less than the failure itself.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.reason = error.str()


class KafkaConnection:
    """An admin client with bounded waits and kappa's errors. Use it as a context manager."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.timeout_s = kafka.default_api_timeout_ms / 1000
        self._last_error = LastError()
        config = {**confluent_config(kafka), "error_cb": self._last_error}
        self._admin: AdminClient | None = None
        with self.translating(bootstrap_servers=kafka.bootstrap_servers):
            self._admin = AdminClient(config)  # type: ignore[arg-type]

    def admin(self) -> AdminClient:
        """The client itself; wrap what you call on it in ``translating``."""
        if self._admin is None:
            raise RuntimeError("the connection is closed")
        return self._admin

    def results(self, futures: Mapping[K, Future[T]], **detail: object) -> dict[K, T]:
        """Waits for every future of one admin call.

        Raises:
            KappaError: the first failure, translated, with ``detail`` to locate it.
        """
        return {key: self.result(future, **detail) for key, future in futures.items()}

    def result(self, future: Future[T], **detail: object) -> T:
        """Waits for one future of an admin call; its failure is translated."""
        with self.translating(**detail):
            return future.result()

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Repeats an attempt while a partition's leader is not found, within the time limit.

        Brokers learn one after the other who leads; a new topic, or a broker that stopped, leaves
        a moment in which those asked do not agree.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return attempt()
            except BrokerUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)

    @contextmanager
    def translating(self, **detail: object) -> Iterator[None]:
        """Turns the client's exceptions into kappa's, located by ``detail``."""
        try:
            yield
        except KafkaException as error:
            if self._admin is not None:
                self._admin.poll(0)  # runs error_cb with what happened in the background
            raise from_confluent(error, reason=self._last_error.reason, **detail) from error

    def close(self) -> None:
        """Ends the client's threads and sockets."""
        self._admin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _ignore(error: KafkaError) -> None:
    """Without a callback librdkafka's wrapper would write connection errors to stderr."""


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=str(kafka.ssl_ca_location) if kafka.ssl_ca_location else None
        )
        if kafka.ssl_certificate_location is not None:
            password = kafka.ssl_key_password
            context.load_cert_chain(
                kafka.ssl_certificate_location,
                kafka.ssl_key_location,
                password.get_secret_value() if password else None,
            )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of the Kafka settings cannot be used: {error}") from error
    return context
