"""Quarantine: a message that makes the broker close the connection must not do so for ever.

A broker answers some topics and payloads by hanging up, without a word (a packet
above its limit, a topic that it refuses), and whoever sends the same again on
the next connection hears nothing else any more: one bad target silences all.

The broker takes messages in their order, so the guilty one is the oldest that
was not acknowledged when the connection ended. Three times in a row, each within
two seconds of its sending (a line that flaps is slower to fall), and its topic
rests for a minute, then for twice as long after each further time, an hour at most.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from service import logs
from service.mqtt import Publication
from webhook import metrics

__all__ = ["Quarantine"]

_STRIKES = 3
_QUICK_S = 2.0
_FIRST_REST_S = 60.0
_LONGEST_REST_S = 3600.0


class _Flight(NamedTuple):
    topic: str
    publication: Publication
    at_s: float


class _Suspect:
    """A topic that was in flight when a connection ended."""

    def __init__(self) -> None:
        self.strikes = 0
        self.until_s = 0.0  # it rests until then; 0: it does not
        self.rest_s = _FIRST_REST_S


class Quarantine:
    """Watches the messages of one session.

    Args:
        session: its name in the metrics: whose messages they are.
        clock: seconds that never jump.
    """

    def __init__(self, session: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._flights: deque[_Flight] = deque()
        self._suspects: dict[str, _Suspect] = {}
        self._lock = threading.Lock()
        self._log = logs.get("quarantine")

    def holds(self, topic: str) -> bool:
        """Tell whether a message to `topic` is to be held back now; those that are get counted."""
        suspect = self._suspects.get(topic)
        held = suspect is not None and self._clock() < suspect.until_s
        if held:
            metrics.QUARANTINE_HELD.labels(self._session).inc()
        return held

    def sent(self, topic: str, publication: Publication) -> None:
        """Note a message that was just handed to the session."""
        with self._lock:
            self._forget_landed()
            self._flights.append(_Flight(topic, publication, self._clock()))

    def disconnected(self) -> None:
        """Find who was in flight when the connection ended; called on the network thread."""
        with self._lock:
            self._forget_landed()
            oldest = self._flights[0] if self._flights else None
            self._flights.clear()
            if oldest is None or self._clock() - oldest.at_s > _QUICK_S:
                return
            suspect = self._suspects.setdefault(oldest.topic, _Suspect())
            suspect.strikes += 1
            if suspect.strikes >= _STRIKES:
                suspect.until_s = self._clock() + suspect.rest_s
                self._log.error(
                    "topic in quarantine: the broker closes the connection whenever we publish to it",
                    topic=oldest.topic,
                    times=suspect.strikes,
                    rests_s=suspect.rest_s,
                )
                suspect.rest_s = min(suspect.rest_s * 2, _LONGEST_REST_S)
            self._gauge()

    def reason(self, topics: Iterable[str]) -> str:
        """Say which of the topics rests and how long, "" when none does."""
        now_s = self._clock()
        for topic in topics:
            suspect = self._suspects.get(topic)
            if suspect and suspect.until_s > now_s:
                return f"the broker hangs up at {topic!r}; tried again in {suspect.until_s - now_s:.0f} s"
        return ""

    def pardon(self) -> None:
        """Forget everything: what is published may be different now."""
        with self._lock:
            self._suspects.clear()
            self._gauge()

    def _forget_landed(self) -> None:
        while self._flights and self._flights[0].publication.wait(0):
            landed = self._flights.popleft()
            if self._suspects.pop(landed.topic, None):
                self._gauge()

    def _gauge(self) -> None:
        resting = sum(suspect.strikes >= _STRIKES for suspect in self._suspects.values())
        metrics.QUARANTINED.labels(self._session).set(resting)
