"""What the store remembers of devices that were heard of again: their last readings, for a hub that has just started.

Its thread also finds out whether the store answers, for /readyz and the page.
"""

import threading

from hub.live import Picture
from service import logs
from store import Store, StoreError

__all__ = ["Recall"]

_EVERY_S = 5.0
# Retained messages come within milliseconds of the connection: the first look is soon after.
_FIRST_S = 0.5


class Recall:
    """Fills the gaps of the picture from the store.

    Args:
        store: is read only.
        picture: gets the last readings, with their times.
    """

    def __init__(self, store: Store, picture: Picture) -> None:
        self._store = store
        self._picture = picture
        self._done: set[str] = set()
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
        """Ask the store once, for the devices that it was not yet asked about."""
        try:
            stored = self._store.devices()
            for device in {entry["device"] for entry in self._picture.devices()} - self._done:
                for sensor, (value, t_s) in (self._store.latest(device) if device in stored else {}).items():
                    self._picture.reading(device, sensor, value, t_s)
                self._done.add(device)
            problem = None
        except StoreError as error:
            problem = str(error)
        if problem != self.problem:
            self._log.info("store " + ("away" if problem else "answers"), problem=problem)
        self.problem = problem
        self._picture.link("store", problem)

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._stopping.wait(wait_s):
            self.look()
            wait_s = _EVERY_S
