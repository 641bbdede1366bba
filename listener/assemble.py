"""Facts to points: times, identities and changes, in the order in which the messages came.

Knows no socket, clock or disk; its memory (`Census`, `Stamps`, `Identities`, `Pins`,
`Sensors`) belongs to the one thread that calls it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from contract.limits import MAX_INTEGER
from contract.presence import OFFLINE
from listener import metrics
from listener.census import NAMES_MAX_BYTES, PIN_BYTES, SENSOR_BYTES, Census
from listener.clocks import DEVICE, RECEIPT, Clocks
from listener.decode import About, Commanded, Info, Readings, Reported, Said, Status
from listener.identity import Identities, together
from listener.pins import Pins
from listener.quick import Plain
from listener.sensors import Sensors
from listener.stamps import Stamps
from store import Point
from store.points import DEVICES, READINGS

__all__ = ["Assembler"]

_MOST_TOGETHER = 64  # sets of sensors of a device that are remembered
_MOST_SETS = 20_000  # of all devices
_TEXT_BYTES = 350  # what a text about a device takes
_INFO_FIELDS = ("rssi", "heap", "uptime_s")


@dataclass(slots=True)
class _Steady:
    """A device of which a reading is a point and nothing else.

    Attributes:
        source: where its times come from.
        until_ns: for sensors that came together, when there is something to be noted again.
    """

    source: str
    tags: tuple[tuple[str, str], ...]
    until_ns: dict[str, int]


class Assembler:
    """Turns facts into points.

    Args:
        slot: of a listener that shares with others, see `Stamps`.
        names_max_bytes: see `Census`.
    """

    def __init__(self, slot: int = 0, names_max_bytes: int = NAMES_MAX_BYTES) -> None:
        self._census = Census(names_max_bytes)
        self._identities = Identities()
        self._stamps = Stamps(slot)
        self._clocks = Clocks()
        self._about: dict[tuple[str, str], str] = {}  # (device, what) -> text
        self._pins = Pins()
        self._sensors = Sensors(self._census)
        self._steady: dict[str, _Steady] = {}
        self._sets = 0  # noted in `_steady` since it was empty
        self._new = self._duplicates = 0  # not counted yet

    def preload(self, identities: Iterable[tuple[str, str, int, str]]) -> None:
        """Learn which samples (device, boot, n, sensors) are stored already."""
        for device, boot, n, sensors in identities:
            self._identities.first_time(device, boot, n, together(sensors))

    def points(self, fact: Said, retained: bool, received_ns: int) -> list[Point]:
        """Return what is to be stored.

        Args:
            retained: the broker kept the message and it is old by an unknown time: it tells the state of things, but
                nothing happened now, so it is no point.
            received_ns: nanoseconds since 1970.

        Raises:
            Rejected: there are too many devices, or names of this one.
        """
        self._census.admit(fact.device, *_names_in(fact))
        if retained:
            self._learn(fact)
            return []
        match fact:
            case Readings():
                return list(self._readings(fact, received_ns))
            case Status(device, status):
                # A sleeping device said so: nothing is wrong with it, and an alert on `online` must not fire.
                return [self._device(device, {"online": float(status != OFFLINE)}, received_ns)]
            case Info(device, info):
                # Said again and again, unlike a status: a device that has been up for days still shows as online.
                fields = {name: value for name in _INFO_FIELDS if _is_number(value := info.get(name))}
                return [self._device(device, {"online": 1.0, **fields}, received_ns)]
            case About(device, texts):
                news = {what: text for what, text in texts.items() if self._about.get((device, what)) != text}
                self._about.update({(device, what): text for what, text in news.items()})
                return [self._device(device, news, received_ns)] if news else []
            case Commanded(device, pin, command):
                return list(self._pins.desired(device, pin, command, self._stamps.stamp(device, received_ns)))
            case Reported(device, pin, state):
                return list(self._pins.reported(device, pin, state, self._stamps.stamp(device, received_ns)))

    def quick(self, plain: Plain, received_ns: int, points: list[Point]) -> bool:
        """Append what is to be stored of a sample, if that is as simple as nearly always; return whether it was.

        Does what `points` does; where there is more to do than a point, it does nothing.
        """
        device, values, sensors, t_s, n, boot = plain
        source = RECEIPT if t_s is None else DEVICE
        steady = self._steady.get(device)
        if steady is None or source != steady.source or received_ns >= steady.until_ns.get(sensors, 0):
            until_ns = min(self._clocks.marked_until(device, source), self._sensors.noted_until(device, values))
            if received_ns >= until_ns:
                return False
            if steady is None or source != steady.source or len(steady.until_ns) > _MOST_TOGETHER:
                steady = self._steady[device] = _Steady(source, (("device", device),), {})
            steady.until_ns[sensors] = until_ns
            self._sets += 1
            if self._sets >= _MOST_SETS:
                self._steady, self._sets = {}, 0
        if t_s is not None and not self._clocks.steady(device, boot, n, t_s, received_ns):
            return False
        fields: Mapping[str, float | str] = values
        if n is not None and boot:
            if not self._identities.first_time(device, boot, n, sensors):
                self._duplicates += 1
                return True
            fields = {**values, "n": n, "boot": boot}
        self._new += 1
        if t_s is None:
            ts_ns = self._stamps.received(device, received_ns)
        else:
            ts_ns = self._stamps.stamp(device, received_ns, t_s, n)
        points.append(Point(READINGS, steady.tags, fields, ts_ns))
        return True

    def count(self) -> None:
        """Count the samples since the last call: once a batch, since a counter takes as long as the sample itself."""
        for outcome, count in (("new", self._new), ("duplicate", self._duplicates)):
            if count:
                metrics.READINGS.labels(outcome).inc(count)
        self._new = self._duplicates = 0

    def _learn(self, fact: Said) -> None:
        match fact:
            case Readings(_, samples):
                metrics.READINGS.labels("retained").inc(len(samples))
            case Commanded(device, pin, command):
                self._pins.learn_desired(device, pin, command)
            case Reported(device, pin, state):
                self._pins.learn_reported(device, pin, state)

    def _readings(self, readings: Readings, received_ns: int) -> Iterator[Point]:
        device = readings.device
        self._steady.pop(device, None)  # where its times come from may change
        samples, source = self._clocks.settle(device, readings.samples, received_ns)
        if self._clocks.mark(device, source, received_ns):
            yield Point(DEVICES, (("device", device),), {"clock": source}, received_ns)
        for sample in samples:
            # `n` counts from a start of the device: without the start's name it says nothing after the next one.
            fields: dict[str, float | str] = dict(sample.values)
            if sample.n is not None and sample.boot:
                if not self._identities.first_time(device, sample.boot, sample.n, together(sample.values)):
                    self._duplicates += 1
                    continue
                fields.update(n=sample.n, boot=sample.boot)
            self._new += 1
            ts_ns = self._stamps.stamp(device, received_ns, sample.t_s, sample.n, sample.age_s)
            yield Point(READINGS, (("device", device),), fields, ts_ns)
            yield from self._sensors.points(device, sample.values, received_ns)

    def _device(self, device: str, fields: Mapping[str, float | str], received_ns: int) -> Point:
        return Point(DEVICES, (("device", device),), fields, self._stamps.stamp(device, received_ns))


def _names_in(fact: Said) -> tuple[Iterable[str], int]:
    """Return the names in a fact that are remembered, and the memory that each takes, in bytes."""
    match fact:
        case Readings(_, samples):
            return {name for sample in samples for name in sample.values}, SENSOR_BYTES
        case Commanded(_, pin, _) | Reported(_, pin, _):
            return (pin,), PIN_BYTES
        case About(_, texts):
            return texts, _TEXT_BYTES
    return (), 0


def _is_number(value: object) -> TypeGuard[float]:
    """Tell whether `info`, which is read loosely, holds a number here that a store can take."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER
