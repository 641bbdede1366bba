"""What the store knows and the broker does not tell the hub.

That is the last readings of devices that were heard of again, for a hub that has just started, and the readings of
other firmware that do not pass below our own topics. Its thread also finds out whether the store
answers, for /readyz and the page.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from contract.presence import OFFLINE
from hub.live import Picture
from service import logs
from store import Store, StoreError

__all__ = ["Recall"]

Json = dict[str, Any]

_EVERY_S = 5.0
# Retained messages come within milliseconds of the connection: the first look is soon after.
_FIRST_S = 0.5
# Of many silent devices some are asked about at each look: the store has other work.
_MOST_A_LOOK = 50
# A device that only the store knows is shown while it is young; an old one is history.
_YOUNG_S = 86400.0


class Recall:
    """Fills the gaps of the picture from the store.

    Args:
        store: is read only.
        picture: gets the last readings, with their times.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, picture: Picture, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._picture = picture
        self._clock = clock
        self._given: dict[str, dict[str, float]] = {}  # device -> sensor -> time of the reading that came from here
        self._asked: dict[str, float] = {}  # device -> when the store was asked about it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recall", daemon=True)
        self._log = logs.get("recall")
        self.problem: str | None = "not asked yet"

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def look(self) -> None:
        """Ask the store, for the devices whose readings the hub does not hear itself."""
        try:
            for device in self._due(self._store.devices()):
                self._take(device, self._store.latest(device))
                self._asked[device] = self._clock()
            problem = None
        except StoreError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001
            # What one device's points bring about must not end the thread: the hub would never be ready again.
            self._log.exception("look failed")
            problem = f"{type(error).__name__}: {error}"
        if problem != self.problem:
            self._log.info("store " + ("away" if problem else "answers"), problem=problem)
        self.problem = problem
        self._picture.link("store", problem)

    def _due(self, stored: Sequence[str]) -> list[str]:
        """Return those that were not asked about for the longest."""
        shown = {entry["device"]: entry for entry in self._picture.devices()}
        due = [device for device in stored if self._is_silent(device, shown.get(device))]
        return sorted(due, key=lambda device: self._asked.get(device, 0.0))[:_MOST_A_LOOK]

    def _is_silent(self, device: str, entry: Json | None) -> bool:
        """Tell whether nothing but the store has told a reading of it. One that was shown and taken out stays out."""
        if entry is None:
            return device not in self._given
        heard = {sensor: reading["t_s"] for sensor, reading in entry["readings"].items()}
        return device not in self._given or (entry["status"] != OFFLINE and heard == self._given[device])

    def _take(self, device: str, latest: dict[str, tuple[float, float]]) -> None:
        newest_s = max((t_s for _, t_s in latest.values()), default=0.0)
        if self._picture.device(device) is None and newest_s < self._clock() - _YOUNG_S:
            return
        given = self._given.setdefault(device, {})
        for sensor, (value, t_s) in latest.items():
            if given.get(sensor) != t_s:
                self._picture.reading(device, sensor, value, t_s)
                given[sensor] = t_s

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._stopping.wait(wait_s):
            self.look()
            wait_s = _EVERY_S
