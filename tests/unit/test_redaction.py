"""No secret reaches a log, whatever way it comes: fields, text, exceptions, other libraries."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from pydantic import SecretStr

from kappa.errors import ConfigError
from kappa.telemetry.logs import Form, configure_logs, logger
from kappa.telemetry.redaction import HIDDEN, redact, redact_text

CANARY = "c4n@ry-Zq9:/x"
"""Holds what ends a password for a careless pattern: an @, a colon, a slash."""


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://kappa:{CANARY}@db:5432/streams",
        f"postgresql://kappa@db/streams?password={CANARY}&sslmode=require",
        f"host=db password='{CANARY}' user=kappa",
        f"host=db password={CANARY} user=kappa",
        json.dumps({"sasl_password": CANARY, "user": "kappa"}),
        str({"sasl.password": CANARY, "user": "kappa"}),
        f"KAPPA_KAFKA__SASL_PASSWORD={CANARY}",
        f"sasl.password={CANARY}",
        f"authorization: Bearer {CANARY}",
        f"first https://a:{CANARY}@one/ then https://b:{CANARY}@two/",
    ],
)
def test_text_is_kept_but_for_its_secret(text: str) -> None:
    redacted = redact_text(text)
    assert CANARY not in redacted
    assert "ry-Zq9" not in redacted
    assert HIDDEN in redacted
    for kept in ("db", "kappa", "sslmode=require", "one", "two"):
        assert (kept in redacted) == (kept in text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9464/metrics",
        "2026-01-01T10:00:00 orders/3 at 17: read",
        "mail to a@b.example about postgresql://db:5432/streams",
        "tokenizer ready",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_fields_named_like_secrets_are_hidden_at_any_depth() -> None:
    given = {"settings": [{"ssl_key_password": CANARY}, {"secret": [CANARY]}], "apiToken": CANARY}
    assert redact(given) == {
        "settings": [{"ssl_key_password": HIDDEN}, {"secret": HIDDEN}],
        "apiToken": HIDDEN,
    }
    assert redact((SecretStr(CANARY), 1, None, 2.5, True)) == [HIDDEN, 1, None, 2.5, True]


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_way_into_a_log_lets_a_secret_through(form: Form) -> None:
    out = io.StringIO()
    configure_logs(form, "debug", stream=out)
    url = f"postgresql://kappa:{CANARY}@db/streams"
    log = logger("kappa.test", password=CANARY)
    log.info(f"connecting to {url}")
    log.info("settings", postgres=url, nested={"token": CANARY}, given=SecretStr(CANARY))
    log.warning("it failed", error=ConfigError("bad url", url=url))
    log.info("by position: %s", url)
    logging.getLogger("somebody.else").warning("connecting to %s", url)
    structlog.get_logger("a.plugin").info("mine", url=url, secret=CANARY)
    for name in ("kappa.test", "somebody.else"):
        try:
            raise psycopg.OperationalError(f"cannot reach {url}")
        except psycopg.OperationalError:
            logging.getLogger(name).exception("lost")
            logger(name).error("lost", exc_info=True)
    shown = out.getvalue()
    assert shown.count("OperationalError") >= 4
    assert shown.count(HIDDEN) >= 10
    assert "ry-Zq9" not in shown
