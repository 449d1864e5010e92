"""Log events with fields, on stderr: lines for people, or one JSON object per line.

Python's own ``logging`` comes out the same way, so that clients and plugins are heard too.
Nothing is printed before ``configure_logs``; a command that answers on stdout stays quiet.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Literal, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from kappa.telemetry.redaction import redact

Form = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

# They tell at "info" what only their developers want to know.
_CHATTY = ("aiokafka", "alembic", "asyncio", "kafka", "sqlalchemy")

_ENRICH: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)

_PROCESSORS: tuple[Processor, ...] = (
    structlog.stdlib.filter_by_level,
    *_ENRICH,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
    ProcessorFormatter.wrap_for_formatter,
)

# Without any handler Python would write warnings to stderr by itself.
logging.getLogger("kappa").addHandler(logging.NullHandler())


def logger(name: str, **fields: object) -> BoundLogger:
    """The logger of a module (``__name__``); ``fields`` are part of each of its events."""
    bound: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=list(_PROCESSORS),
        wrapper_class=BoundLogger,
        context_class=dict,
    )
    return bound.bind(**fields)


def configure_logs(form: Form, level: Level = "info", *, stream: TextIO | None = None) -> None:
    """Makes this process log to ``stream`` (stderr) from now on. May be called again.

    Every event has ``timestamp`` (UTC, ISO 8601), ``level``, ``logger`` and ``event``; its other
    fields are the caller's. Colour is used on a terminal only. Secrets are taken out of all.
    """
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=list(_ENRICH), processors=_rendering(form, out), logger=None
        )
    )
    root = logging.getLogger()
    for former in [h for h in root.handlers if isinstance(h.formatter, ProcessorFormatter)]:
        root.removeHandler(former)
    root.addHandler(handler)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(  # for plugins that use structlog themselves
        processors=list(_PROCESSORS),
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A processor that takes secrets out of every field; stands right before the renderer."""
    redacted: dict[str, Any] = redact(event)
    return redacted


def _rendering(form: Form, out: TextIO) -> Sequence[Processor]:
    renderer: Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    return (
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact_event,
        renderer,
    )
