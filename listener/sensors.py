"""Which device has which sensors, said in the store once a day: what a dashboard offers to choose from.

The fields of `readings` are those of all devices together; only tags can be
asked for one device.
"""

from collections.abc import Iterable, Iterator

from listener.census import NEVER_NS, Census
from store.points import SENSORS, Point

__all__ = ["Sensors"]

_DAY_NS = 86400 * 10**9


class Sensors:
    """Knows when each sensor was noted last; used by one thread.

    Args:
        census: has taken in every sensor that is asked for.
    """

    def __init__(self, census: Census) -> None:
        self._census = census

    def noted_until(self, device: str, names: Iterable[str]) -> int:
        """Return until when `points` has none for these sensors; 0 or less: it has now."""
        noted_ns = self._census.noted_ns(device)
        return min(noted_ns.get(name, NEVER_NS) for name in names) + _DAY_NS

    def points(self, device: str, names: Iterable[str], now_ns: int) -> Iterator[Point]:
        """Return the points for those sensors that were not noted for a day (of `now_ns`, nanoseconds since 1970)."""
        noted_ns = self._census.noted_ns(device)
        for name in names:
            if now_ns - noted_ns[name] >= _DAY_NS:
                noted_ns[name] = now_ns
                yield Point(SENSORS, (("device", device), ("sensor", name)), {"seen": 1.0}, now_ns)
