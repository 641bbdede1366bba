"""What a store refuses for good, found by halving: one bad point must not cost the others.

A refused write may have kept the good points (InfluxDB 1.x and 3 Core: status
400 "partial write"; 2.x: 422) or none (2.x: 400). Writing a point again is
harmless in each of them, so nobody needs to know which it was.
"""

from collections.abc import Callable, Sequence

from store import Point, StoreError

__all__ = ["refused"]


def refused(write: Callable[[Sequence[Point]], None], points: Sequence[Point]) -> list[tuple[int, StoreError]]:
    """Write points; return (index, why) of those that the store refuses for good.

    1. Write the part at hand.
    2. When it is refused (malformed, in conflict, too large a body), go on with its halves.
    3. A single point that is refused is bad, and so are all when the store says that it dropped as many as it got.

    Raises:
        StoreError: transient; some points may be stored, the whole is to be written again.
    """
    found: list[tuple[int, StoreError]] = []
    parts = [(0, points)] if points else []  # the next one last
    while parts:
        start, part = parts.pop()
        try:
            write(part)
        except StoreError as error:
            if not error.permanent:
                raise
            if len(part) == 1 or error.dropped == len(part):
                found += [(start + index, error) for index in range(len(part))]
            else:
                middle = len(part) // 2
                parts += [(start + middle, part[middle:]), (start, part[:middle])]
    return found
