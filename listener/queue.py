"""Messages between the network thread and the writer, bounded by the memory that they hold.

When it is full, `put` blocks the network thread: the broker's socket is not
read any more, and the broker keeps what it cannot deliver. If it closes the
connection over that, the session brings the unacknowledged messages again.
"""

import threading
from collections import deque
from dataclasses import dataclass

from listener import metrics
from service.mqtt import Message

__all__ = ["Queue", "Received"]

_OVERHEAD_BYTES = 600  # what the objects of a message take beside its payload


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came.

    Attributes:
        message: the library's message, for its acknowledgement.
        topic: its topic.
        link: the number of the connection on which it came.
        received_ns: when, nanoseconds since 1970.
    """

    message: Message
    topic: str
    link: int
    received_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.message.payload) + _OVERHEAD_BYTES


class Queue:
    """First in, first out; holds at least one message, and at most about `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: deque[Received] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, received: Received) -> bool:
        """Add a message, waiting for room; return False when the queue is closed (the message is not taken)."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._bytes < self._max_bytes)
            if self._closed:
                return False
            self._held.append(received)
            self._bytes += received.size_bytes
            metrics.QUEUE_BYTES.set(self._bytes)
            self._changed.notify_all()
            return True

    def take(self, most: int) -> list[Received]:
        """Wait for a message and return up to `most`; an empty list when the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held)
            taken = [self._held.popleft() for _ in range(min(most, len(self._held)))]
            self._bytes -= sum(received.size_bytes for received in taken)
            metrics.QUEUE_BYTES.set(self._bytes)
            self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Take nothing more; what is held can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def problem(self) -> str | None:
        """Say that it is full, None when it is not; a check for `Health`."""
        if self._bytes < self._max_bytes:
            return None
        return f"full ({self._bytes} bytes): the broker is not read"
