"""Settings: ``kappa.toml``, overridden by ``KAPPA_*`` variables, completed by ``kappa dev up``.

A variable's name is the path in the file with ``__`` between levels:
``KAPPA_KAFKA__BOOTSTRAP_SERVERS=broker:9092`` sets ``bootstrap_servers`` under ``[kafka]``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kappa.errors import ConfigError

FILE_NAME = "kappa.toml"
STATE_DIRECTORY = ".kappa"
ENDPOINTS_NAME = "endpoints.json"


class KafkaSettings(BaseModel):
    """How to reach Kafka. Names are those of Kafka's own client settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap_servers: str = ""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: SecretStr | None = None
    request_timeout_ms: int = 30_000
    default_api_timeout_ms: int = 10_000
    """How long a command waits for any broker to answer before it fails."""


class PostgresSettings(BaseModel):
    """Where tables and checkpoints live; ``url`` is a libpq URL (``postgresql://…``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = SecretStr("")


class RegistrySettings(BaseModel):
    """The compacted topic that holds the schemas, in Confluent's record format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str = "_schemas"


class TelemetrySettings(BaseModel):
    """What a running kappa says of itself, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log_form: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    address: str = ""
    """``host:port`` for metrics and health; empty for none, port 0 for a free one."""


class OutputSettings(BaseModel):
    """The compacted topic that holds how far relays have sent their outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    positions_topic: str = "_kappa_positions"


class Settings(BaseSettings):
    """Everything a command needs to know about its surroundings."""

    model_config = SettingsConfigDict(
        env_prefix="KAPPA_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    registry: RegistrySettings = RegistrySettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    outputs: OutputSettings = OutputSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _find_file()))


def state_directory() -> Path:
    """``.kappa/`` beside the ``kappa.toml`` in force, else in the working directory."""
    file = _find_file()
    return (file.parent if file.exists() else Path.cwd()) / STATE_DIRECTORY


def load() -> Settings:
    """The settings in force here.

    Raises:
        ConfigError: a file cannot be read, or it or a variable holds something kappa does not
            understand.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"setting {'.'.join(str(part) for part in first['loc'])!r}: {first['msg'].lower()}",
            file=str(_find_file()),
            hint="see docs/configuration.md for the names that exist",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{FILE_NAME} cannot be read: {error}",
            file=str(_find_file()),
            hint="see docs/configuration.md for its form",
        ) from error
    return _completed(settings)


def require_kafka(settings: Settings) -> KafkaSettings:
    """The Kafka settings, or a ConfigError that says how to get some."""
    if not settings.kafka.bootstrap_servers:
        raise _unconfigured("Kafka")
    return settings.kafka


def require_postgres(settings: Settings) -> str:
    """The PostgreSQL URL, or a ConfigError that says how to get one."""
    if not settings.postgres.url.get_secret_value():
        raise _unconfigured("PostgreSQL")
    return settings.postgres.url.get_secret_value()


def _unconfigured(what: str) -> ConfigError:
    directory = state_directory()
    if directory.is_dir():
        return ConfigError(
            f"no {what} is configured, and the development servers of this directory are down",
            directory=str(directory),
            hint="run 'kappa dev up'",
        )
    return ConfigError(
        f"no {what} is configured",
        hint="run 'kappa dev up', or set KAPPA_KAFKA__BOOTSTRAP_SERVERS and KAPPA_POSTGRES__URL",
    )


def _find_file() -> Path:
    here = Path.cwd()
    candidates = [directory / FILE_NAME for directory in (here, *here.parents)]
    return next((path for path in candidates if path.exists()), candidates[0])


def _completed(settings: Settings) -> Settings:
    """Fills what nobody configured from the development stack, if one was started here."""
    file = state_directory() / ENDPOINTS_NAME
    if not file.exists():
        return settings
    try:
        endpoints: dict[str, Any] = json.loads(file.read_text())
        servers, url = endpoints["bootstrap_servers"], endpoints["postgres_url"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"what 'kappa dev up' wrote cannot be read: {error}",
            file=str(file),
            hint="'kappa dev down' and 'kappa dev up' write it anew",
        ) from error
    update: dict[str, Any] = {}
    if not settings.kafka.bootstrap_servers:
        update["kafka"] = settings.kafka.model_copy(update={"bootstrap_servers": servers})
    if not settings.postgres.url.get_secret_value():
        update["postgres"] = PostgresSettings(url=SecretStr(url))
    return settings.model_copy(update=update)
