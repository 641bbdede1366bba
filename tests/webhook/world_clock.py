"""What makes a process of a world fail when the test says so: its clock, and the boundaries of its commits."""

import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import structlog

__all__ = ["Boundary", "Clock", "Crashed", "simulated"]

_START_S = 1_800_000_000.0  # a Friday in January 2027, 08:00 UTC


class Crashed(Exception):  # noqa: N818  (not an error: what the test asked for)
    """The process was killed here."""


class Clock:
    """In the place of the module `time`: the wall clock may jump, the other may not."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, for another world."""
        self.wall_s = _START_S
        self.run_s = 1000.0

    def time(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.run_s

    perf_counter = monotonic

    def right_s(self) -> float:
        """Return what the wall clock would be if nobody had set it: that of the senders."""
        return self.run_s + _START_S - 1000.0

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.run_s += seconds


@contextmanager
def simulated() -> Iterator[Clock]:
    """Give every module of the webhook this clock and no log, and take both back, whatever happens."""
    clock = Clock()
    before = structlog.get_config() if structlog.is_configured() else None
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("webhook.") and getattr(module, "time", None) is time:
                stack.enter_context(mock.patch.object(module, "time", clock))
        stack.callback(lambda: structlog.configure(**before) if before else structlog.reset_defaults())
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
        )
        yield clock


class Boundary:
    """A connection to SQLite at which the process can be killed, or the disk be full.

    Attributes:
        fuse: what the next COMMIT meets: "before" or "after" (killed there), "full" (it fails); "torn": the next
            command cannot be written, in the middle of a transaction; None: nothing.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.fuse: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and self.fuse in ("before", "after", "full"):
            fuse, self.fuse = self.fuse, None
            if fuse == "full":
                raise sqlite3.OperationalError("database or disk is full")
            if fuse == "after":
                self._connection.execute(sql)
            raise Crashed(fuse)
        self._tear(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql: str, values: Any) -> Any:
        self._tear(sql)
        return self._connection.executemany(sql, values)

    def _tear(self, sql: str) -> None:
        if self.fuse == "torn" and "INTO commands" in sql:
            self.fuse = None
            raise sqlite3.OperationalError("database or disk is full")
