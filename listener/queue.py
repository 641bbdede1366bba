"""Messages between the network thread and the writer, bounded by the memory that they hold.

Handed over by batches: a lock for each message would cost more than reading
it. While there is no room, the broker's socket is not read, and the broker
keeps what it cannot deliver. If it closes the connection over that, the
session brings the unacknowledged messages again.

A lone message is taken at once. Under load, which the size of the batch before
shows, the taker waits while more keep coming, a hundredth of a second at most:
a write to the store costs as much as twenty messages.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter

from listener import metrics
from service.packets import Received

__all__ = ["Queue", "Received"]

_payload = attrgetter("payload")
_OVERHEAD_BYTES = 300  # what the objects of a message take beside its payload
# What is worked on at once: as points and lines it takes ten times as much, and the queue fills again meanwhile.
_MOST_TAKEN_BYTES = 1 << 20
# More than a broker that lets few messages wait for their acknowledgement (mosquitto 20, EMQX 32) has on the way: when
# those are all taken, nothing comes until they are stored.
_LOAD_MESSAGES = 33
_STEPS, _STEP_S = 5, 0.002


class Queue:
    """First in, first out; holds at most about `max_bytes`, and one batch more.

    Args:
        pause: waits so many seconds for more messages, or until the queue is closed; for tests.
    """

    def __init__(self, max_bytes: int, pause: Callable[[float], object] | None = None) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: deque[tuple[Sequence[Received], int]] = deque()  # a batch and its bytes
        self._changed = threading.Condition()
        self._closed = False
        self._ended = threading.Event()
        self._pause = pause or self._ended.wait
        self._load = False

    def put(self, batch: Sequence[Received]) -> bool:
        """Add messages, without waiting; return False when the queue is closed (they are not taken)."""
        size_bytes = _size_bytes(batch)
        metrics.MESSAGES.inc(len(batch))
        with self._changed:
            if self._closed:
                return False
            self._held.append((batch, size_bytes))
            self._count(size_bytes)
            self._changed.notify_all()
            return True

    def room(self, timeout_s: float) -> bool:
        """Return whether more may be put (a closed queue takes, and drops, all), waiting for it so many seconds."""
        if self._bytes < self._max_bytes:  # without the lock: asked before every read
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._bytes < self._max_bytes, timeout_s)

    def take(self, most: int) -> list[Received]:
        """Wait for messages and return up to `most`, of a megabyte and one batch more.

        An empty list when the queue is closed and empty.
        """
        taken: list[Received] = []
        taken_bytes = 0
        if self._load:
            self._gather()
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held)
            while self._held and len(taken) < most and taken_bytes < _MOST_TAKEN_BYTES:
                batch, size_bytes = self._held.popleft()
                part = batch[: most - len(taken)]
                if len(part) < len(batch):
                    rest = batch[len(part) :]
                    rest_bytes = _size_bytes(rest)
                    self._held.appendleft((rest, rest_bytes))
                    size_bytes -= rest_bytes
                taken += part
                taken_bytes += size_bytes
                self._count(-size_bytes)
            self._changed.notify_all()
        self._load = len(taken) >= _LOAD_MESSAGES
        return taken

    def close(self) -> None:
        """Take nothing more; what is held can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._ended.set()

    def problem(self) -> str | None:
        """Say that it is full, None when it is not; a check for `Health`."""
        if self._bytes < self._max_bytes:
            return None
        return f"full ({self._bytes} bytes): the broker is not read"

    def _gather(self) -> None:
        """Wait while more messages come, or as many are there as are worked on at once."""
        for _ in range(_STEPS):
            before_bytes = self._bytes
            if before_bytes >= _MOST_TAKEN_BYTES or self._closed:
                return
            self._pause(_STEP_S)
            if self._bytes == before_bytes:
                return

    def _count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        metrics.QUEUE_BYTES.set(self._bytes)


def _size_bytes(batch: Sequence[Received]) -> int:
    return sum(map(len, map(_payload, batch))) + len(batch) * _OVERHEAD_BYTES
