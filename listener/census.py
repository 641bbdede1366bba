"""The census: which devices and which of their sensors and pins there are, within bounds.

Whoever may publish may invent names without end; each would cost memory here, and a series in the store for ever.
"""

from collections.abc import Iterable

from listener.errors import Rejected

__all__ = ["MOST_NAMES", "NAMES_MAX_BYTES", "NEVER_NS", "PIN_BYTES", "SENSOR_BYTES", "Census"]

NAMES_MAX_BYTES = 40 << 20
"""Unless the settings say otherwise: 5,000 devices with 20 sensors each take 33.5 MB of it, 20,000 with one 39."""
MOST_NAMES = 1000
"""Sensors and pins of a device."""

# Measured: what is kept of one, here and by clocks, stamps and pins, when no two share a text.
DEVICE_BYTES, SENSOR_BYTES, PIN_BYTES = 1700, 250, 1000

NEVER_NS = -(10**18)


class Census:
    """Counts who is there since the start; used by one thread.

    Args:
        max_bytes: of memory for what is remembered of them.
    """

    def __init__(self, max_bytes: int = NAMES_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        # Of each name of a device, when it was last noted as a sensor in the store; nanoseconds since 1970.
        self._names: dict[str, dict[str, int]] = {}
        self._bytes = 0

    def admit(self, device: str, names: Iterable[str] = (), each_bytes: int = SENSOR_BYTES) -> None:
        """Take in a device and names of its sensors and pins.

        Args:
            each_bytes: the memory that a name takes.

        Raises:
            Rejected: there are too many (reason "many"); none of them is taken in then.
        """
        known = self._names.get(device)
        fresh = set(names).difference(known or ())
        if known is not None and not fresh:
            return
        more_bytes = len(fresh) * each_bytes + DEVICE_BYTES * (known is None)
        some = ", ".join(sorted(fresh)[:3])
        if len(known or ()) + len(fresh) > MOST_NAMES:
            raise Rejected(f"{device}: has {MOST_NAMES} sensors and pins already, without {some}", "many")
        if self._bytes + more_bytes > self._max_bytes:
            raise Rejected(f"{device}: names_max_bytes has no room for {some or 'it'}", "many")
        self._bytes += more_bytes
        self._names.setdefault(device, {}).update(dict.fromkeys(fresh, NEVER_NS))

    def noted_ns(self, device: str) -> dict[str, int]:
        """Return when each name of a device was noted, to be changed by who notes it; of a stranger an empty one."""
        return self._names.get(device, {})
