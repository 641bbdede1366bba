"""What came over HTTP, told on MQTT once it is stored: rules and the hub follow the broker alone.

On a topic of its own, which the listener never hears: nothing is stored twice, and nothing goes round. A copy is
about now, so it goes at once or not at all: without a broker it is dropped and counted, and the next reading comes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import Counter

from contract.payloads import encode
from contract.topics import RELAYED, Topics
from listener.batch import Batch
from listener.handover import Handed
from service import logs
from service.mqtt import NotConnected, Outgoing, Publication
from store import Point
from store.points import BOOKKEEPING, READINGS

__all__ = ["Relay"]

# A request of a gateway has at most 5000 items, each perhaps of a device of its own.
_MOST_WAITING = 5000
_GIVEN_UP_S = 10.0
_MOST_SENSORS = 20_000

COPIES = Counter(
    "listener_relayed_total",
    "Samples that came over HTTP, by what became of their copy on MQTT: sent, older (a newer one is out), away (no"
    " broker), busy (it does not answer), failed.",
    ["outcome"],
)


class Relay:
    """Publishes copies; used by one thread.

    Args:
        topics: of the contract.
        publish_all: see `Session.publish_all`.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        topics: Topics,
        publish_all: Callable[[Sequence[Outgoing]], Sequence[Publication]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._publish_all = publish_all
        self._clock = clock
        self._newest_ns: dict[tuple[str, str], int] = {}  # (device, sensor) -> time of the last copy
        self._waiting: deque[tuple[float, Publication]] = deque()  # when it was sent, what tells of its PUBACK
        self._log = logs.get("relay")

    def take(self, batch: Batch) -> None:
        """Relay what is stored of a batch and did not come from the broker; never blocks, never raises."""
        try:
            copies = list(self._copies(batch))
            if copies:
                self._send(copies)
        except Exception:  # noqa: BLE001  (a bug that a copy shows must not stop what stores the readings)
            COPIES.labels("failed").inc()
            self._log.exception("relay failed")

    def _copies(self, batch: Batch) -> Iterator[Outgoing]:
        ends = [*batch.starts[1:], len(batch.points)]
        for message, start, end in zip(batch.messages, batch.starts, ends, strict=False):
            if isinstance(message, Handed):
                points = [point for point in batch.points[start:end] if point.measurement == READINGS]
                yield from self._newest(points, message.received_ns)

    def _newest(self, points: Sequence[Point], received_ns: int) -> Iterator[Outgoing]:
        """Yield the newest value of each sensor, by time: a log, or a gateway's buffer, has older ones before it."""
        found: list[Outgoing] = []
        taken: set[tuple[str, str]] = set()
        for point in sorted(points, key=lambda point: point.ts_ns, reverse=True):
            device = dict(point.tags)["device"]
            values = {
                sensor: value
                for sensor, value in point.fields.items()
                if sensor not in BOOKKEEPING
                and (device, sensor) not in taken
                # What a gateway sends again comes late. A last time that is yet to come: a clock was put back since.
                and not point.ts_ns <= self._newest_ns.get((device, sensor), 0) <= received_ns
            }
            if not values:
                COPIES.labels("older").inc()
                continue
            taken.update((device, sensor) for sensor in values)
            payload: dict[str, object] = {**values, "_t": round(point.ts_ns / 1e9, 6)}
            if "n" in point.fields:
                payload |= {"_n": point.fields["n"], "_b": point.fields["boot"]}
            found.append(Outgoing(self._topics.build(RELAYED, device), encode(payload)))
            self._note(device, values, point.ts_ns)
        return reversed(found)

    def _note(self, device: str, sensors: Iterable[str], ts_ns: int) -> None:
        if len(self._newest_ns) >= _MOST_SENSORS:
            self._newest_ns.clear()
        self._newest_ns.update(((device, sensor), ts_ns) for sensor in sensors)

    def _send(self, copies: Sequence[Outgoing]) -> None:
        now_s = self._clock()
        while self._waiting and (self._waiting[0][1].wait(0) or now_s >= self._waiting[0][0] + _GIVEN_UP_S):
            self._waiting.popleft()
        going = copies[: _MOST_WAITING - len(self._waiting)]
        try:
            sent = self._publish_all(going)
        except NotConnected:
            COPIES.labels("away").inc(len(copies))
            return
        except OverflowError:  # no packet id is free
            going = sent = ()
        self._waiting.extend((now_s, one) for one in sent)
        COPIES.labels("sent").inc(len(going))
        COPIES.labels("busy").inc(len(copies) - len(going))
