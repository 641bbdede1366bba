"""When a sample was: nanoseconds since 1970 that no two samples of a device share."""

import math

__all__ = ["Stamps"]

_LEAST_S = 1577836800.0  # 2020-01-01: a clock before it was never set
_MOST_AHEAD_S = 86400.0
_NS_PER_US = 1000


class Stamps:
    """Gives samples their time; used by one thread."""

    def __init__(self) -> None:
        # The last one by device; apart, so that a clock that is ahead does not move the times of receipt.
        self._clocked_ns: dict[str, int] = {}
        self._received_ns: dict[str, int] = {}

    def stamp(self, device: str, received_ns: int, t_s: float | None = None, n: int | None = None) -> int:
        """Return the time of a sample.

        The device's clock counts when it is plausible: within [2020, a day after receipt]. A sample with `n`, too, has
        a time that depends on `t_s` and `n` only, so writing it again replaces it even if nobody recognises it.
        Otherwise the time of receipt counts, moved on where it would repeat or run backwards.

        Args:
            received_ns: when the message came, nanoseconds since 1970.
            t_s: the device's time, seconds since 1970.
            n: the sample's number.
        """
        if t_s is not None and math.isfinite(t_s) and _LEAST_S <= t_s <= received_ns / 1e9 + _MOST_AHEAD_S:
            base_ns = round(t_s * 1e6) * _NS_PER_US
            if n is not None:
                return base_ns + n % _NS_PER_US
            # A clock of whole seconds gives a burst one time: the nanoseconds below the microsecond tell them apart.
            last_ns = self._clocked_ns.get(device, 0)
            ns = last_ns + 1 if base_ns <= last_ns < base_ns + _NS_PER_US - 1 else base_ns
            self._clocked_ns[device] = ns
        else:
            ns = max(received_ns, self._received_ns.get(device, 0) + 1)
            self._received_ns[device] = ns
        return ns
