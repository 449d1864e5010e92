"""What a log looks like, and that nothing is logged where nobody asked for it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from kappa.errors import ConfigError
from kappa.telemetry.logs import configure_logs, logger


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_is_one_object_per_line_with_a_time_in_utc() -> None:
    out = io.StringIO()
    configure_logs("json", stream=out)
    logger("kappa.a", processor="revenue").info("claimed\nat once", partitions=[1, 2], größe="é")
    logging.getLogger("client").warning("gone %s", 7)
    ours, theirs = lines(out)
    at = datetime.fromisoformat(str(ours.pop("timestamp")))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    assert ours == {
        "event": "claimed\nat once",
        "level": "info",
        "logger": "kappa.a",
        "processor": "revenue",
        "partitions": [1, 2],
        "größe": "é",
    }
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("gone 7", "warning", "client")


def test_an_exception_comes_with_its_stack_on_the_same_line() -> None:
    out = io.StringIO()
    configure_logs("json", stream=out)
    try:
        raise ConfigError("no Kafka", file="kappa.toml")
    except ConfigError as error:
        logger("kappa.a").exception("failed", error=error)
    (line,) = lines(out)
    assert line["error"] == "ConfigError: no Kafka (file=kappa.toml)"
    assert "test_logs.py" in str(line["exception"])


def test_the_console_form_has_no_colour_off_a_terminal() -> None:
    out = io.StringIO()
    configure_logs("console", stream=out)
    logger("kappa.a").warning("slow", seconds=1.5)
    shown = out.getvalue()
    assert "slow" in shown
    assert "seconds=1.5" in shown
    assert "\x1b" not in shown


def test_the_level_decides_and_chatty_clients_are_heard_from_warning_on() -> None:
    out = io.StringIO()
    configure_logs("json", "info", stream=out)
    logger("kappa.a").debug("hidden")
    logging.getLogger("aiokafka.consumer").info("hidden")
    logging.getLogger("aiokafka.consumer").warning("shown")
    configure_logs("json", "error", stream=out)  # once more: not twice per line
    logger("kappa.a").warning("hidden")
    logger("kappa.a").error("shown")
    assert [line["event"] for line in lines(out)] == ["shown", "shown"]


def test_nothing_is_printed_before_logs_are_configured() -> None:
    code = (
        "from kappa.telemetry.logs import logger\n"
        "logger('kappa.runtime.worker.worker').error('lost', exc_info=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
