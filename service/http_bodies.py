"""The bodies that a server is receiving or working on: together they are bounded, whoever sends them.

When all of them together are too large, the largest that is still being received is refused (503, `Retry-After`):
so many who send much do not keep out one who sends little.
"""

import threading
from typing import Protocol

from prometheus_client import Counter

__all__ = ["RETRY_AFTER_S", "Bodies", "Sender"]

RETRY_AFTER_S = 5
REFUSED = Counter("http_bodies_refused_total", "Requests refused (503) because bodies took too much memory together.")


class Sender(Protocol):
    """A connection on which a request is being received, or is waiting for an answer."""

    def held_bytes(self) -> int:
        """Return how large its bodies are; any thread asks."""

    def receiving(self) -> bool:
        """Tell whether one of them can still be refused."""

    def refuse(self) -> None:
        """Drop it and answer 503."""


class Bodies:
    """Counts their bytes.

    Args:
        most_bytes: of all together; a block of one connection more may be held for a moment.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self._held: dict[Sender, int] = {}
        self._lock = threading.Lock()

    def weigh(self, sender: Sender) -> None:
        """Note how much a connection holds now; called on any thread when that has changed."""
        with self._lock:
            held_bytes = sender.held_bytes()
            self.held_bytes += held_bytes - self._held.pop(sender, 0)
            if held_bytes:
                self._held[sender] = held_bytes

    def relieve(self) -> None:
        """Refuse what is too much; called on the thread that receives."""
        while self.held_bytes > self.most_bytes:
            with self._lock:
                receiving = [one for one in self._held if one.receiving()]
                largest = max(receiving, key=self._held.__getitem__, default=None)
            if largest is None:  # all are whole, and end soon
                return
            REFUSED.inc()
            largest.refuse()
            self.weigh(largest)
