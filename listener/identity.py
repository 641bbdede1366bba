"""Samples that were stored before, recognised by (device, boot, sensors, n).

A bit for each number, in pieces of 2048 numbers. All pieces together are bounded and the one that was not touched for
the longest time goes first: neither how many later numbers a device has sent nor a jump of its count makes a sample
unknown, only that many others do.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

__all__ = ["Identities", "Identity", "Piece", "asked_per_device", "together"]

Identity = tuple[str, str, int, str]  # device, boot, n, sensors (see `together`)

Piece = tuple[str, str, str, int]  # device, boot, sensors, n // 2048

_MOST_PIECES = 20_000  # 11 MB: 40 million samples in the best case
_SHIFT, _MASK = 11, 2047
_MOST_TEXT_CHARS = 96
# Of one device the broker brings again at most what it lets wait for its acknowledgement (max_inflight_messages;
# shipped: 5000, of all devices together); of many devices so many samples overall, to start within seconds.
_MOST_ASKED, _LEAST_ASKED, _ASKED = 8192, 512, 400_000


def asked_per_device(devices: int) -> int:
    """Return how many samples of each of so many devices a store is asked for at the start."""
    return min(_MOST_ASKED, max(_LEAST_ASKED, _ASKED // max(1, devices)))


def together(sensors: str | Iterable[str]) -> str:
    """Return the text for sensors that come together: sorted and joined by commas; a long one ends in its hash.

    So that ever other sets of many sensors, 2 KB each, do not fill the memory.

    Args:
        sensors: their names, or such a text already, long or not.
    """
    text = sensors if isinstance(sensors, str) else ",".join(sorted(sensors))
    if len(text) <= _MOST_TEXT_CHARS:
        return text
    return f"{text[:32]}#{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


class Identities:
    """Remembers which samples were seen; used by one thread."""

    def __init__(self) -> None:
        # Bit i is set when 2048 * piece + i was seen; the piece that was touched last is the last one.
        self._seen: OrderedDict[Piece, int] = OrderedDict()

    def __iter__(self) -> Iterator[Identity]:
        for (device, boot, sensors, piece), bits in self._seen.items():
            while bits:
                lowest = bits & -bits
                yield device, boot, (piece << _SHIFT) + lowest.bit_length() - 1, sensors
                bits ^= lowest

    def known(self, device: str, boot: str, n: int, sensors: str) -> bool:
        """Return whether a sample was noted, without noting it; any thread may ask while none notes."""
        return bool(self._seen.get((device, boot, sensors, n >> _SHIFT), 0) >> (n & _MASK) & 1)

    def first_time(self, device: str, boot: str, n: int, sensors: str) -> bool:
        """Note a sample, and return whether it is new.

        Its sensors are part of it: some firmware counts each by itself.
        One of a piece that was forgotten is taken as new: storing twice is better than losing.
        """
        key, bit = (device, boot, sensors, n >> _SHIFT), 1 << (n & _MASK)
        bits = self._seen.get(key)
        if bits is None:
            self._seen[key] = bit
            if len(self._seen) > _MOST_PIECES:
                self._seen.popitem(last=False)
            return True
        self._seen[key] = bits | bit
        self._seen.move_to_end(key)
        return not bits & bit

    def pieces(self) -> list[tuple[Piece, bytes]]:
        """Return all, to be kept on disk."""
        return [(key, bits.to_bytes((_MASK + 1) // 8, "little")) for key, bits in self._seen.items()]

    @classmethod
    def of(cls, pieces: list[tuple[Piece, bytes]]) -> "Identities":
        """Return what `pieces` gave."""
        found = cls()
        for (device, boot, sensors, piece), bits in pieces:  # earlier versions kept long texts
            found._seen[device, boot, together(sensors), piece] = int.from_bytes(bits, "little")
        return found
