"""Settings for the two Kafka clients, and what becomes of their errors."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiokafka.errors as aio
import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from kappa.config import KafkaSettings
from kappa.errors import (
    BrokerUnavailable,
    ConfigError,
    CorruptBatch,
    KappaError,
    LogError,
    OffsetOutOfRange,
    TopicExists,
    UnknownTopic,
)
from kappa.log.client import KafkaConnection, LastError, aiokafka_arguments, confluent_config
from kappa.log.translation import from_aiokafka, from_confluent

SECURE = KafkaSettings(
    bootstrap_servers="a:1,b:2",
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-256",
    sasl_username="alice",
    sasl_password=SecretStr("canary-password"),
    request_timeout_ms=1234,
)


def test_plain_settings_for_both_clients() -> None:
    settings = KafkaSettings(bootstrap_servers="a:1")
    config = confluent_config(settings)
    assert config["bootstrap.servers"] == "a:1"
    assert config["security.protocol"] == "PLAINTEXT"
    assert config["log_level"] == 0
    assert None not in config.values()
    assert not [name for name in config if name.startswith(("sasl", "ssl"))]
    assert aiokafka_arguments(settings) == {
        "bootstrap_servers": "a:1",
        "client_id": "kappa",
        "request_timeout_ms": 30_000,
        "security_protocol": "PLAINTEXT",
    }


def test_credentials_reach_both_clients() -> None:
    config = confluent_config(SECURE)
    assert config["sasl.mechanism"] == "SCRAM-SHA-256"
    assert (config["sasl.username"], config["sasl.password"]) == ("alice", "canary-password")
    assert config["socket.timeout.ms"] == 1234

    arguments = aiokafka_arguments(SECURE)
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-256"
    assert arguments["sasl_plain_username"] == "alice"
    assert arguments["sasl_plain_password"] == "canary-password"
    assert arguments["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["ssl_context"].check_hostname is True


def test_files_are_passed_on(tmp_path: Path) -> None:
    files = {
        name: tmp_path / name
        for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location")
    }
    settings = SECURE.model_copy(update={**files, "ssl_key_password": SecretStr("k")})
    config = confluent_config(settings)
    assert config["ssl.ca.location"] == str(files["ssl_ca_location"])
    assert config["ssl.certificate.location"] == str(files["ssl_certificate_location"])
    assert config["ssl.key.location"] == str(files["ssl_key_location"])
    assert config["ssl.key.password"] == "k"


@pytest.mark.parametrize("name", ["ssl_ca_location", "ssl_certificate_location"])
def test_a_tls_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    settings = SECURE.model_copy(update={name: tmp_path / "nowhere.pem"})
    with pytest.raises(ConfigError, match="TLS"):
        aiokafka_arguments(settings)


def test_settings_librdkafka_refuses_are_a_config_error_without_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        KafkaConnection(SECURE.model_copy(update={"sasl_mechanism": "TELEPATHY"}))
    assert "canary" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError._TRANSPORT, BrokerUnavailable),
        (KafkaError._TIMED_OUT, BrokerUnavailable),
        (KafkaError._ALL_BROKERS_DOWN, BrokerUnavailable),
        (KafkaError._RESOLVE, BrokerUnavailable),
        (KafkaError._AUTHENTICATION, BrokerUnavailable),
        (KafkaError.NOT_LEADER_FOR_PARTITION, BrokerUnavailable),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopic),
        (KafkaError._UNKNOWN_TOPIC, UnknownTopic),
        (KafkaError.TOPIC_ALREADY_EXISTS, TopicExists),
        (KafkaError.OFFSET_OUT_OF_RANGE, OffsetOutOfRange),
        (KafkaError._INVALID_ARG, ConfigError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, LogError),
        (KafkaError.UNKNOWN, LogError),
    ],
)
def test_what_confluent_kafka_raises(code: int, expected: type[KappaError]) -> None:
    for error in (KafkaError(code), KafkaException(KafkaError(code))):
        translated = from_confluent(error, topic="orders")
        assert type(translated) is expected
        assert translated.detail["topic"] == "orders"


def test_a_confluent_exception_without_a_code() -> None:
    assert type(from_confluent(KafkaException("odd"))) is LogError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aio.KafkaConnectionError("x"), BrokerUnavailable),
        (aio.NodeNotReadyError(), BrokerUnavailable),
        (aio.RequestTimedOutError(), BrokerUnavailable),
        (aio.NotLeaderForPartitionError(), BrokerUnavailable),
        (ConnectionResetError(), BrokerUnavailable),
        (TimeoutError(), BrokerUnavailable),
        (aio.UnknownTopicOrPartitionError(), UnknownTopic),
        (aio.OffsetOutOfRangeError(), OffsetOutOfRange),
        (aio.CorruptRecordException("x"), CorruptBatch),
        (aio.UnsupportedCodecError("x"), LogError),
        (aio.TopicAuthorizationFailedError("x"), LogError),
        (aio.IncompatibleBrokerVersion("x"), LogError),
    ],
)
def test_what_aiokafka_raises(error: Exception, expected: type[KappaError]) -> None:
    translated = from_aiokafka(error, topic="orders", partition=3)
    assert type(translated) is expected
    assert (translated.detail["topic"], translated.detail["partition"]) == ("orders", 3)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Connection refused", "KAPPA_KAFKA__BOOTSTRAP_SERVERS"),
        ("SASL authentication error: Invalid username or password", "sasl_*"),
        ("SSL handshake failed: certificate verify failed", "ssl_*"),
    ],
)
def test_the_hint_follows_the_reason(reason: str, hint: str) -> None:
    error = from_confluent(KafkaError(KafkaError._TIMED_OUT), reason=reason)
    assert error.detail["reason"] == reason
    assert hint in error.hint


def test_the_last_reason_outlives_the_count_of_brokers_that_are_down() -> None:
    last = LastError()
    last(KafkaError(KafkaError._RESOLVE, "no such host"))
    last(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert last.reason == "no such host"
