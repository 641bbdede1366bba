"""Whether the listener answers and stores, and how many dead letters it keeps: readings that could not be stored.

One thread asks its /metrics and /readyz now and then. The listener's figure is of its file, so it falls when somebody
replays or drops them.
"""

import json
import re
import threading

import urllib3

from hub.live import Picture
from hub.words import STORING

__all__ = ["Letters"]

_EVERY_S = 5.0
_TIMEOUT_S = 3.0
_KEPT = re.compile(r"^listener_dead_letters_kept (\S+)$", re.MULTILINE)


class Letters:
    """Asks the listener and tells the picture; does nothing without an address.

    Args:
        url: where the listener answers, as http://127.0.0.1:8082; empty: nobody is asked.
        picture: what is told.
    """

    def __init__(self, url: str, picture: Picture) -> None:
        self._url = url.rstrip("/")
        self._picture = picture
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="letters", daemon=True)

    def start(self) -> None:
        """Begin to ask, in the background."""
        if self._url:
            self._thread.start()

    def stop(self) -> None:
        """Ask no more; a question that is being asked may take some seconds yet, nobody waits for it."""
        self._stopping.set()

    def look(self) -> None:
        """Ask once, now; called by the thread and by the tests."""
        try:
            answer = self._pool.request("GET", self._url + "/metrics")
            found = _KEPT.search(answer.data.decode(errors="replace"))
        except (urllib3.exceptions.HTTPError, OSError):
            return self._away(f"the listener at {self._url} does not answer")
        if answer.status != 200 or not found:
            return self._away(f"what answers at {self._url} is not the listener")
        self._picture.link("listener", None)
        self._picture.link(STORING, self._not_storing())
        return self._picture.dead_letters_are(int(float(found[1])))

    def _away(self, problem: str) -> None:
        self._picture.link("listener", problem)
        self._picture.link(STORING, None)  # nobody knows that now

    def _not_storing(self) -> str | None:
        """Return what the listener says keeps readings from the store, None for nothing.

        Its connection to the broker is left out: while that is away there is nothing to store.
        """
        try:
            answer = self._pool.request("GET", self._url + "/readyz")
            problems = json.loads(answer.data)["problems"] if answer.status == 503 else {}
            told = [f"{check}: {problem}" for check, problem in problems.items() if check != "broker"]
        except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # it has just answered: the next look tells
        return "; ".join(told) or None

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            self.look()
