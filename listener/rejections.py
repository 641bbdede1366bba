"""Messages that cannot be stored: all are counted, a few are logged.

One broken device could otherwise fill a disk with log lines.
"""

import time
from collections.abc import Callable

from listener import metrics
from listener.errors import Rejected
from listener.queue import Received
from service import logs

__all__ = ["Rejections"]

_LOG_EVERY_S = 10.0


class Rejections:
    """Counts by reason; logs at most one line a reason in 10 s, with the number of those since the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._log = logs.get("listener")
        self._logged_s: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def add(self, received: Received, error: Rejected) -> None:
        """Note a message that was rejected."""
        reason = error.reason
        metrics.REJECTED.labels(reason).inc()
        self._since[reason] = self._since.get(reason, 0) + 1
        now_s = self._clock()
        if now_s - self._logged_s.get(reason, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        self._log.warning(
            "messages rejected",
            reason=reason,
            count=self._since.pop(reason),
            topic=repr(received.topic[:200]),
            error=str(error),
        )
        self._logged_s[reason] = now_s
