"""The throttle: how many wrong credentials an address may try.

Per address a bucket of failures that refills with time. Only failures take
from it and only the same address is held back, so nobody can lock out
another; a network of IPv6 addresses (/64) counts as one, because one
machine has them all.
"""

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

__all__ = ["Throttle", "address_of"]

_BURST = 20
_PER_S = 0.2
_MOST_ADDRESSES = 4096


@lru_cache(1024)
def address_of(text: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


class Throttle:
    """Counts failures.

    Args:
        burst: failures that an address has to spare.
        per_s: how many it gets back in a second.
        clock: seconds that never jump.
    """

    def __init__(
        self, burst: float = _BURST, per_s: float = _PER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (left, at that time)
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """Return after how many whole seconds the address may try again; 0: now."""
        with self._lock:
            left = self._now_left(address, self._clock())
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / self._per_s))

    def failed(self, address: str) -> bool:
        """Take note of a failure; return whether it used up what the address had to spare."""
        now_s = self._clock()
        with self._lock:
            left = self._now_left(address, now_s)
            self._left[address] = (max(0.0, left - 1), now_s)
            self._left.move_to_end(address)
            # Whoever has enough addresses to push others out of the table has enough of them anyway.
            if len(self._left) > _MOST_ADDRESSES:
                self._left.popitem(last=False)
        return 1 <= left < 2

    def _now_left(self, address: str, now_s: float) -> float:
        left, at_s = self._left.get(address, (self._burst, now_s))
        return min(self._burst, left + (now_s - at_s) * self._per_s)
