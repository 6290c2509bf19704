"""Structured logs: an event with fields, one line each. Never a body, a name, an identity or a card number."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, Literal

import orjson
import structlog

Level = Literal["debug", "info", "warning", "error"]
FRAMES_MAX = 12
_set_up = False
"""Whether this process writes its logs as we say; others may have configured structlog for something else."""
_LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(level: Level, form: Literal["json", "text"], *, role: str = "") -> None:
    """Set up structlog for this process; standard library loggers speak from warning on."""
    global _set_up
    _set_up = True
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_role(role),
            _with_frames,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=max(_LEVELS[level], logging.WARNING), format="%(name)s %(message)s")
    # pika reports each lost connection with several tracebacks; the transport says it once, as an event.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def only_warnings() -> None:
    """For commands: warnings and errors, for people, on standard error. Does nothing where logs are set up already."""
    if _set_up:
        return
    structlog.configure(
        processors=[structlog.processors.add_log_level, _drop_news, _with_frames, structlog.dev.ConsoleRenderer()],
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]
    )


class _StandardError:
    """Standard error as it is when something is written: tests and shells put others in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _drop_news(_logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if method in ("debug", "info"):
        raise structlog.DropEvent
    return event


def _with_role(role: str) -> structlog.types.Processor:
    def add_role(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        if role:
            event["role"] = role
        return event

    return add_role


def _with_frames(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Where an unexpected error came from, without its text: libraries put the values they choked on into it."""
    exc_info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if exc_info is True else exc_info if isinstance(exc_info, BaseException) else None
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        event["where"] = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames]
    return event
