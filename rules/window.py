"""The last seconds of one sensor of one device, reduced to one number."""

from collections import deque

__all__ = ["MOST_READINGS", "Window"]

# One reading a second for the longest window. With faster ones the window holds the newest 3600: memory for
# thousands of devices stays bounded, and a sum over them takes about 30 us.
MOST_READINGS = 3600


class Window:
    """Readings of the last `over_s` seconds, and always the newest one, however old.

    So a sensor that reports once a minute has a value under `over: 10s` too; `no_data` says when a value is too old.
    Only `count` counts nothing but the last `over_s` seconds; it has no value before a whole window was watched.

    Args:
        over_s: the length; 0 keeps the newest reading alone.
        reduce: mean, max, min, last or count.
        from_s: since when readings are watched.
    """

    __slots__ = ("_kept", "_over_s", "_reduce", "_times", "_values", "_whole_s")

    def __init__(self, over_s: float, reduce: str, from_s: float) -> None:
        self._over_s = over_s
        self._reduce = reduce
        self._kept = 0 if reduce == "count" else 1
        self._whole_s = from_s + over_s
        self._times: deque[float] = deque(maxlen=MOST_READINGS)
        self._values: deque[float] = deque(maxlen=MOST_READINGS)

    def add(self, value: float, t_s: float) -> None:
        """Add a reading; `t_s` is not less than that of the one before."""
        self._times.append(t_s)
        self._values.append(value)

    def value(self, now_s: float) -> float | None:
        """Return the reduced value at `now_s`, None when there is none yet."""
        while len(self._times) > self._kept and self._times[0] + self._over_s <= now_s:
            self._times.popleft()
            self._values.popleft()
        if self._reduce == "count":
            self._whole_s = self._whole_s if now_s < self._whole_s else 0.0
            return None if self._whole_s else float(len(self._values))
        if not self._values:
            return None
        if self._reduce == "max":
            return max(self._values)
        if self._reduce == "min":
            return min(self._values)
        if self._reduce == "mean":
            return sum(self._values) / len(self._values)
        return self._values[-1]

    @property
    def changes_s(self) -> float | None:
        """When the value changes next without a new reading, None when it does not."""
        if self._reduce == "count" and self._whole_s:
            return self._whole_s
        return self._times[0] + self._over_s if len(self._times) > self._kept else None
