"""The one interface to whatever keeps the points."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from store.points import Point

__all__ = ["Store"]


class Store(Protocol):
    """A time-series store. Its methods may be called from several threads; each raises StoreError when it fails."""

    def write(self, points: Sequence[Point]) -> None:
        """Store the points durably; writing a point again changes nothing.

        Raises:
            StoreError: transient: nothing may be taken as stored. Permanent: at least one point is unacceptable;
                some stores have kept the others by then, so writing the good ones again must be, and is, harmless.
        """

    def latest(self, device: str) -> dict[str, tuple[float, float]]:
        """Return sensor -> (value, seconds since 1970) of its newest reading."""

    def series(
        self, device: str, sensor: str, since_s: float, until_s: float, step_s: float
    ) -> list[tuple[float, float]]:
        """Return (start of the step in seconds since 1970, mean of the readings in it), oldest first.

        Steps are aligned to multiples of `step_s`; those without readings are left out. `since_s` is in, `until_s` out.
        """

    def devices(self) -> list[str]:
        """Return the ids of the devices that have points, sorted."""

    def identities(self, most_per_device: int) -> Iterable[tuple[str, str, int, str]]:
        """Return (device, boot, n, sensors) of each device's newest numbered readings, at most so many of a device.

        The sensors' names are sorted and joined by commas.
        """

    def close(self) -> None:
        """Let go of files and connections."""
