"""The census: which devices and which of their sensors and pins there are, within bounds.

Whoever may publish may invent names without end; each would cost memory here, and a series in the store for ever.
"""

from collections.abc import Iterable

from listener.errors import Rejected

__all__ = ["MOST_DEVICES", "MOST_NAMES", "Census"]

MOST_DEVICES = 50_000
MOST_NAMES = 1000
"""Sensors and pins of a device."""


class Census:
    """Counts who is there since the start; used by one thread."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def admit(self, device: str, names: Iterable[str] = ()) -> None:
        """Note a device and names of its sensors and pins.

        Raises:
            Rejected: there are too many (reason "many"); none of them is noted then.
        """
        known = self._names.get(device)
        if known is None and len(self._names) >= MOST_DEVICES:
            raise Rejected(f"device: {device!r} is one more than {MOST_DEVICES}", "many")
        fresh = set(names) - (known or set())
        if len(known or ()) + len(fresh) > MOST_NAMES:
            some = ", ".join(sorted(fresh)[:3])
            raise Rejected(f"{device}: has {MOST_NAMES} sensors and pins already, without {some}", "many")
        if known is None:
            self._names[device] = fresh
        else:
            known |= fresh
