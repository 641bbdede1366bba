"""When a sample was: nanoseconds since 1970 that no two samples of a device share."""

import math

__all__ = ["LEAST_S", "MOST_AHEAD_S", "Stamps"]

LEAST_S = 1577836800.0  # 2020-01-01: a clock before it was never set
MOST_AHEAD_S = 86400.0
# A listener's clock that was this far ahead was wrong: times of receipt do not wait until it is that late.
_EXCURSION_NS = 10 * 10**9
_NS_PER_US = 1000
_SLOT_NS = 50


class Stamps:
    """Gives samples their time; used by one thread.

    Args:
        slot: which 50 of the nanoseconds below a microsecond are used first for samples that share a time of their
            device: listeners that share its messages use different ones, or one's sample would replace another's.
    """

    def __init__(self, slot: int = 0) -> None:
        self._first_ns = slot * _SLOT_NS
        # The last one by device; apart, so that a clock that is ahead does not move the times of receipt.
        self._clocked_ns: dict[str, int] = {}
        self._received_ns: dict[str, int] = {}

    def stamp(
        self, device: str, received_ns: int, t_s: float | None = None, n: int | None = None, age_s: int = 0
    ) -> int:
        """Return the time of a sample.

        The device's clock counts when it is plausible: within [2020, a day after receipt]. A sample with `n`, too, has
        a time that depends on `t_s` and `n` only, so writing it again replaces it even if nobody recognises it.
        Otherwise the time of receipt counts, less `age_s` if that is said, or moved on where it would repeat or run
        backwards (by up to 10 s: beyond that it was wrong before).

        Args:
            received_ns: when the message came, nanoseconds since 1970.
            t_s: the device's time, seconds since 1970.
            n: the sample's number.
            age_s: how long the sample waited in the device.
        """
        received_s = received_ns / 1e9
        if t_s is not None and not (math.isfinite(t_s) and LEAST_S <= t_s <= received_s + MOST_AHEAD_S):
            t_s = None
        if t_s is None and age_s:
            t_s = max(received_s - age_s, LEAST_S)
        if t_s is not None:
            base_ns = round(t_s * 1e6) * _NS_PER_US
            if n is not None:
                return base_ns + n % _NS_PER_US
            # A clock of whole seconds gives a burst one time: the nanoseconds below the microsecond tell them apart.
            last_ns = self._clocked_ns.get(device, 0)
            ns = last_ns + 1 if base_ns <= last_ns < base_ns + _NS_PER_US - 1 else base_ns + self._first_ns
            self._clocked_ns[device] = ns
            return ns
        return self.received(device, received_ns)

    def received(self, device: str, received_ns: int) -> int:
        """Return the time of a sample that says nothing about it."""
        last_ns = self._received_ns.get(device, 0)
        ns = last_ns + 1 if received_ns <= last_ns < received_ns + _EXCURSION_NS else received_ns
        self._received_ns[device] = ns
        return ns
