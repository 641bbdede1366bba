"""Samples that were stored before, recognised by (device, boot, sensors, n).

A sliding window of numbers for each start of a device, as IPsec guards against
replay: the greatest number seen and one bit for each of those below it.

Source: RFC 4303, section 3.4.3 (the window)
"""

from collections import OrderedDict

__all__ = ["Identities"]

# Each device keeps its latest starts only as long as the table holds: 50,000 windows of 4096 bits are 30 MB.
_MAX_WINDOWS = 50_000


class Identities:
    """Remembers which samples were seen; used by one thread.

    Args:
        window: how many numbers below the greatest one are remembered.
    """

    def __init__(self, window: int) -> None:
        self._mask = (1 << window) - 1
        self._window = window
        # (device, boot, sensors) -> (greatest n, bits: bit i is set when n - i was seen), the most recently used last
        self._seen: OrderedDict[tuple[str, str, str], tuple[int, int]] = OrderedDict()

    def known(self, device: str, boot: str, n: int, sensors: str) -> bool:
        """Return whether a sample was noted, without noting it; any thread may ask while none notes."""
        greatest, bits = self._seen.get((device, boot, sensors), (-1, 0))
        return 0 <= greatest - n < self._window and bool(bits >> (greatest - n) & 1)

    def first_time(self, device: str, boot: str, n: int, sensors: str) -> bool:
        """Note a sample, and return whether it is new.

        Its sensors (sorted names, joined by commas) are part of it: some firmware counts each sensor by itself.
        A number below the window is taken as new: storing twice is better than losing.
        """
        key = (device, boot, sensors)
        if key not in self._seen:
            self._seen[key] = (n, 1)
            if len(self._seen) > _MAX_WINDOWS:
                self._seen.popitem(last=False)
            return True
        self._seen.move_to_end(key)
        greatest, bits = self._seen[key]
        if n > greatest:
            # A jump beyond the window forgets all of it; shifting by it could ask for gigabytes.
            bits = (bits << (n - greatest)) & self._mask if n - greatest < self._window else 0
            self._seen[key] = (n, bits | 1)
            return True
        if greatest - n >= self._window:
            return True
        bit = 1 << (greatest - n)
        self._seen[key] = (greatest, bits | bit)
        return not bits & bit
