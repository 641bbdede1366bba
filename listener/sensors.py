"""Which device has which sensors, said in the store once a day: what a dashboard offers to choose from.

The fields of `readings` are those of all devices together; only tags can be
asked for one device.
"""

from collections.abc import Iterable, Iterator

from store.points import SENSORS, Point

__all__ = ["Sensors"]

_DAY_NS = 86400 * 10**9


class Sensors:
    """Remembers when each sensor was noted last; used by one thread."""

    def __init__(self) -> None:
        self._noted_ns: dict[tuple[str, str], int] = {}
        self._together_ns: dict[tuple[str, str], int] = {}  # (device, names joined) -> the earliest of theirs

    def noted(self, device: str, names: Iterable[str], joined: str, now_ns: int) -> bool:
        """Return whether all of these sensors were noted within a day, so that `points` has none."""
        noted_ns = self._together_ns.get((device, joined))
        if noted_ns is None or now_ns - noted_ns >= _DAY_NS:
            noted_ns = min(self._noted_ns.get((device, name), -_DAY_NS) for name in names)
            self._together_ns[device, joined] = noted_ns
        return now_ns - noted_ns < _DAY_NS

    def points(self, device: str, names: Iterable[str], now_ns: int) -> Iterator[Point]:
        """Return the points for those sensors that were not noted for a day (of `now_ns`, nanoseconds since 1970)."""
        for name in names:
            noted_ns = self._noted_ns.get((device, name))
            if noted_ns is None or now_ns - noted_ns >= _DAY_NS:
                self._noted_ns[device, name] = now_ns
                yield Point(SENSORS, (("device", device), ("sensor", name)), {"seen": 1.0}, now_ns)
