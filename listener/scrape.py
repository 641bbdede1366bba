"""Asks the services for their metrics now and then, and stores them: Grafana's dashboard *Pinloop itself*.

A thread of its own that waits for nobody: a service that is away is a point
that says so; a store that fails loses these figures, which come again anyway,
and never holds up a reading.
"""

import threading
import time
from collections.abc import Sequence

import prometheus_client
import urllib3

from contract.topics import is_name
from listener import metrics
from listener.figures import away, figures
from service import logs
from service.errors import SettingsError
from store import Point, Store, StoreError

__all__ = ["Scraper", "targets"]

_OWN = "listener"
_TIMEOUT_S = 3.0
_MOST_BYTES = 1 << 20


class Scraper:
    """Stores the metrics of other services and the listener's own; does nothing when none is named.

    Args:
        services: see `targets`.
        every_s: seconds between two looks.
        store: where they go.

    Raises:
        SettingsError: `services` is malformed.
    """

    def __init__(self, services: str, every_s: float, store: Store) -> None:
        self._targets = targets(services)
        self._every_s = every_s
        self._store = store
        self._stopping = threading.Event()
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S)
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self._log = logs.get("scraper")

    def start(self) -> None:
        """Begin."""
        if self._targets:
            self._thread.start()

    def stop(self) -> None:
        """End; what is being asked may take some seconds more, nobody waits for it."""
        self._stopping.set()

    def look(self) -> None:
        """Ask everyone once and store what they say; never raises for what others do."""
        now_ns = time.time_ns()
        points = figures(_OWN, prometheus_client.generate_latest().decode(), now_ns)
        for service, url in self._targets.items():
            points += self._ask(service, url, now_ns)
        try:
            self._store.write(points)
        except StoreError as error:
            metrics.SCRAPES.labels("lost").inc()
            self._log.debug("figures lost", error=str(error))  # the writer tells of a store that fails
        else:
            metrics.SCRAPES.labels("stored").inc()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:  # noqa: BLE001  (a bug here must not take the listener along)
                self._log.exception("figures failed")
            self._stopping.wait(self._every_s)

    def _ask(self, service: str, url: str, now_ns: int) -> Sequence[Point]:
        try:
            answer = self._pool.request("GET", f"{url}/metrics", preload_content=False)
            try:
                text = answer.read(_MOST_BYTES).decode()
            finally:
                answer.close()
            if answer.status == 200:
                return figures(service, text, now_ns)
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            pass
        metrics.SCRAPES.labels("away").inc()
        return away(service, now_ns)


def targets(text: str) -> dict[str, str]:
    """Return service -> URL in "webhook=http://webhook:8081,rules=http://rules:8083".

    Raises:
        SettingsError: it is not of that form.
    """
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = entry.partition("=")
        if not is_name(name) or name == _OWN or not url.startswith(("http://", "https://")):
            raise SettingsError(f"scrape: {entry!r} is not service=http://HOST:PORT")
        found[name] = url.rstrip("/")
    return found
