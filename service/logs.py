"""Logs: one line per unit of work with key=value fields, human on a terminal, JSON otherwise.

Foreign bytes are quoted by the renderer, so a payload cannot forge a line.
"""

import logging
import sys
from typing import Any, TextIO

from service.settings import LogSettings

# structlog loads rich where it is installed, to draw tracebacks, which we do not: an eighth of a service's start, 4 MB.
_RICH = "rich" in sys.modules
if not _RICH:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, which structlog expects
import structlog  # noqa: E402

if not _RICH:
    del sys.modules["rich"]

__all__ = ["get", "setup"]


def setup(service: str, settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream`, standard output if none is given.

    Args:
        service: stands in every line, so that the lines of several services can be mixed.
    """
    stream = stream or sys.stdout
    human = settings.log_format == "human" or (settings.log_format == "auto" and stream.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=28)
        if human
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            _named(service),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries (waitress, urllib3) log through the standard library: warnings only, in the same form.
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def get(part: str = "") -> Any:
    """Return a logger; `part` names the module when a service has several that log."""
    return structlog.get_logger(part=part) if part else structlog.get_logger()


def _named(service: str) -> Any:
    def add(_logger: Any, _method: str, event: Any) -> Any:
        event.setdefault("service", service)
        return event

    return add


class _Forward(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(part=record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
