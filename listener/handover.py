"""Readings that do not come from the broker, put into the same queue: stored the same way, and told when they are."""

import threading
import time
from collections.abc import Callable, Sequence

from listener.queue import Queue
from service.packets import Received

__all__ = ["Handed", "Handover"]

_NO_LINK = -1  # no connection to the broker has that number, so nobody acknowledges these to it


class Handed(Received, frozen=True, gc=False, kw_only=True):
    """A message of ours.

    Attributes:
        safe: set when its points are in the store, the spool or the dead-letter file.
    """

    safe: threading.Event


class Handover:
    """The way into the queue.

    Args:
        queue: the listener's.
        clock_ns: nanoseconds since 1970.
    """

    def __init__(self, queue: Queue, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._queue = queue
        self._clock_ns = clock_ns

    def put(self, topic: str, payload: bytes, timeout_s: float = 0) -> Handed | None:
        """Queue a message; None when there is no room for it within `timeout_s` seconds."""
        handed = Handed(
            topic=topic, payload=payload, link=_NO_LINK, received_ns=self._clock_ns(), safe=threading.Event()
        )
        return handed if self._queue.room(timeout_s) and self._queue.put([handed]) else None

    @staticmethod
    def telling(ack: Callable[[Sequence[Received]], None]) -> Callable[[Sequence[Received]], None]:
        """Return what acknowledges messages: those of the broker by `ack`, ours by their `safe`."""

        def both(batch: Sequence[Received]) -> None:
            ack(batch)
            for one in batch:
                if isinstance(one, Handed):
                    one.safe.set()

        return both
