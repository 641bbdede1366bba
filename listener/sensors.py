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

    def noted_until(self, device: str, names: Iterable[str]) -> int:
        """Return until when `points` has none for these sensors; 0 or less: it has now."""
        return min(self._noted_ns.get((device, name), -_DAY_NS) for name in names) + _DAY_NS

    def points(self, device: str, names: Iterable[str], now_ns: int) -> Iterator[Point]:
        """Return the points for those sensors that were not noted for a day (of `now_ns`, nanoseconds since 1970)."""
        for name in names:
            noted_ns = self._noted_ns.get((device, name))
            if noted_ns is None or now_ns - noted_ns >= _DAY_NS:
                self._noted_ns[device, name] = now_ns
                yield Point(SENSORS, (("device", device), ("sensor", name)), {"seen": 1.0}, now_ns)
