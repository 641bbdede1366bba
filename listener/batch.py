"""What is delivered together: points, and the messages that they came from.

The messages are kept because a point that a store refuses for good becomes a
dead letter, and whoever reads that wants to see what the device had sent.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from store.points import Point

__all__ = ["Batch", "Kept", "Origin", "joined"]


class Origin(Protocol):
    """A message as it came; `received_ns` is when, in nanoseconds since 1970."""

    @property
    def topic(self) -> str: ...

    @property
    def payload(self) -> bytes: ...

    @property
    def received_ns(self) -> int: ...


class Kept(NamedTuple):
    """An Origin that was kept on disk."""

    topic: str
    payload: bytes
    received_ns: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Points in the order in which their messages came.

    Attributes:
        points: what is to be stored.
        starts: for each message the index of its first point, rising; a message without points shares the next one's.
        messages: the messages; empty when nobody knows them.
    """

    points: Sequence[Point]
    starts: Sequence[int] = ()
    messages: Sequence[Origin] = ()

    def origin(self, index: int) -> Origin | None:
        """Return the message that the point of this index came from."""
        found = bisect_right(self.starts, index) - 1
        return self.messages[found] if found >= 0 else None

    def only(self, kept: Sequence[int]) -> "Batch":
        """Return the batch with these points alone, by index and rising."""
        starts = [bisect_left(kept, start) for start in self.starts]
        return Batch([self.points[index] for index in kept], starts, self.messages)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return batches as one, in their order."""
    if len(batches) == 1:
        return batches[0]
    points: list[Point] = []
    starts: list[int] = []
    messages: list[Origin] = []
    for batch in batches:
        starts += [len(points) + start for start in batch.starts]
        points += batch.points
        messages += batch.messages
    return Batch(points, starts, messages)
