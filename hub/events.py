"""The feed over HTTP: server-sent events for pages, the same events as JSON for polling.

waitress works on a response in one thread until it ends, so each open stream
holds one: they are bounded, and the server has that many threads more. A
stream also ends after a few minutes, and the page comes back with the number of
its last event; so one that nobody reads is not kept for ever.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Gauge

from hub.feed import Event, Feed

__all__ = ["Streams"]

# A page that hears nothing for three of these says that it is not live any more; the second ping to a page that has
# gone ends its stream.
_PING_S = 2.5
_LIFE_S = 300.0
# Events are sent in small batches: 20 a second at most are worth a repaint.
_GATHER_S = 0.05
_RETRY_MS = 500

STREAMS = Gauge("hub_event_streams", "Open event streams.")
REFUSED = Counter("hub_event_streams_refused_total", "Event streams beyond the bound; their pages poll instead.")


class Streams:
    """Opens event streams, a bounded number at a time.

    Args:
        feed: what is streamed.
        most: streams at the same time.
        clock: seconds since 1970, told to the page so that ages do not depend on its own clock.
    """

    def __init__(self, feed: Feed, most: int, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._free = threading.Semaphore(most)
        self._clock = clock

    def open(self) -> bool:
        """Take a place; False when all are taken. The caller gives it back with `close`."""
        if not self._free.acquire(blocking=False):
            REFUSED.inc()
            return False
        STREAMS.inc()
        return True

    def close(self) -> None:
        """Give a place back."""
        self._free.release()
        STREAMS.dec()

    def last_id(self) -> str:
        """Return the id of the newest event: a page rendered now has to ask for what comes after it."""
        return self._feed.id_of(self._feed.last)

    def stream(self, last_id: str) -> Iterator[bytes]:
        """Yield the events after `last_id` (a page's Last-Event-ID, or "") as they come, with pings between them."""
        number, events = self._start(last_id)
        yield f"retry: {_RETRY_MS}\n\n".encode() + self._ping()
        ends_s = time.monotonic() + _LIFE_S
        while not self._feed.closed and time.monotonic() < ends_s:
            if events is None:
                number = self._feed.last
                yield self._frame("reset", number, "{}")
            elif events:
                number = events[-1].number
                yield b"".join(self._frame(event.kind, event.number, event.body) for event in events)
                time.sleep(_GATHER_S)
            self._feed.wait(number, _PING_S)
            events = self._feed.after(number)
            if not events:
                yield self._ping()

    def poll(self, last_id: str) -> dict[str, object]:
        """Return the events after `last_id`: `now_s`, `last` (the next `last_id`), `events`; `reset`: some are lost."""
        number, events = self._start(last_id)
        if events is None:
            number = self._feed.last
        elif events:
            number = events[-1].number
        return {
            "now_s": self._clock(),
            "last": self._feed.id_of(number),
            "reset": events is None,
            "events": [{"kind": event.kind, **json.loads(event.body)} for event in events or ()],
        }

    def _start(self, last_id: str) -> tuple[int, list[Event] | None]:
        number = self._feed.number_of(last_id)
        if number is None:
            # Without an id the client has just read the picture; with a foreign one it missed what was in between.
            return self._feed.last, None if last_id else []
        return number, self._feed.after(number)

    def _frame(self, kind: str, number: int, body: str) -> bytes:
        return f"id: {self._feed.id_of(number)}\nevent: {kind}\ndata: {body}\n\n".encode()

    def _ping(self) -> bytes:
        return f'event: ping\ndata: {{"now_s":{self._clock():.3f}}}\n\n'.encode()
