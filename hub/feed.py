"""The numbered feed of changes: what the picture adds, each open page reads at its own speed.

Bounded: a reader that is too far behind (or comes from before a restart) is
told so and starts again from the picture. An event is serialised once, however
many read it.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Event", "Feed"]


@dataclass(frozen=True)
class Event:
    """One change.

    Attributes:
        number: grows by one with each event of a feed.
        kind: `status`, `info`, `reading`, `pin`, `alerts`, `links` (see docs/hub.md).
        body: its fields as JSON.
    """

    number: int
    kind: str
    body: str


class Feed:
    """Keeps the last events and wakes those who wait for the next.

    Args:
        most: how many events are kept.
        clock: seconds since 1970; names this feed, so that numbers of an earlier process are recognised.
    """

    def __init__(self, clock: Callable[[], float], most: int = 2000) -> None:
        self.name = f"{int(clock() * 1000):x}"
        self._events: deque[Event] = deque(maxlen=most)
        self._last = 0
        self._changed = threading.Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether readers should go away (the process stops)."""
        return self._closed

    @property
    def last(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._last

    def add(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append an event and wake every reader."""
        body = json.dumps(fields, separators=(",", ":"))
        with self._changed:
            self._last += 1
            self._events.append(Event(self._last, kind, body))
            self._changed.notify_all()

    def after(self, number: int) -> list[Event] | None:
        """Return the events after `number`, None when some of them are no longer kept."""
        with self._changed:
            if number > self._last or number < self._last - len(self._events):
                return None
            if number == self._last:
                return []
            return [event for event in self._events if event.number > number]

    def wait(self, number: int, timeout_s: float) -> None:
        """Return when there is an event after `number`, the feed is closed, or after `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > number or self._closed, timeout_s)

    def close(self) -> None:
        """Let every reader go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def id_of(self, number: int) -> str:
        """Return the id under which a client remembers `number`."""
        return f"{self.name}-{number}"

    def number_of(self, event_id: str) -> int | None:
        """Return the number in a client's id, None when it is of another feed or no id."""
        name, _, number = event_id.partition("-")
        return int(number) if name == self.name and number.isascii() and number.isdigit() and len(number) < 16 else None
