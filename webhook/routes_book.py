"""The route book: routes.yml as it is in force, read again when it changes or on SIGHUP.

A file with a mistake never replaces one that works: the old routes and devices
stay in force, and the mistake is told in the log, in /readyz and by a counter.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from contract.topics import Topics
from service import logs
from service.document import DocumentError, Problem
from service.watch import Watch
from service.watched_file import WatchedFile, mistakes
from webhook import metrics
from webhook.commands import Pin
from webhook.dialects import Notification
from webhook.routes import targets_of
from webhook.routes_file import RoutesFile, load_routes
from webhook.targets import Target

__all__ = ["RouteBook"]


class RouteBook:
    """Routes and devices of a file.

    Args:
        on_change: called with what is in force from now on, after each load that worked but the first.

    Attributes:
        file: what is in force.
        problems: of the file as it is now; empty when it is what is in force.

    Raises:
        DocumentError: the file has mistakes: at the start there is nothing older to go on with.
    """

    def __init__(
        self, path: Path, topics: Topics, on_change: Callable[[RoutesFile], None] = lambda _file: None
    ) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._topics = topics
        self._on_change = on_change
        self._log = logs.get("routes")
        self._watched = WatchedFile(path)
        self.file = load_routes(path, topics)
        self._loaded_s = time.time()
        self._watch = Watch("routes", self.look, self.reload)

    def targets_of(self, notification: Notification) -> tuple[list[Target], str]:
        """Return the targets and the slot that an alert asks for.

        Raises:
            ContractError: it asks for nothing that can be done.
        """
        return targets_of(notification, self.file.routes)

    def guards_of(self, pin: Pin) -> Mapping[str, float]:
        """Return the guards that the file declares of a pin of other firmware; none for other pins."""
        device = self.file.devices.get(pin[0])
        return device.pins[pin[1]].guards if device and pin[1] in device.pins else {}

    def start(self) -> None:
        """Begin to look; called on the main thread."""
        self._told()
        self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._watch.stop()

    def look(self) -> None:
        """Load the file again when it is worth it."""
        if self._watched.changed():
            self.reload()

    def reload(self) -> bool:
        """Load the file again; return whether what it says is in force."""
        self._watched.tried()
        try:
            file = load_routes(self.path, self._topics)
        except DocumentError as error:
            self.problems = error.problems
            metrics.ROUTES_RELOADS.labels("bad").inc()
            for problem in error.problems:
                self._log.error("mistake in the routes file", problem=str(problem))
            self._log.error("the old routes stay in force", routes=len(self.file.routes), mistakes=len(error.problems))
            return False
        self.file, self.problems, self._loaded_s = file, [], time.time()
        metrics.ROUTES_RELOADS.labels("ok").inc()
        self._told()
        self._on_change(file)
        return True

    def problem(self) -> str | None:
        """Say what is wrong with the file, None when it is in force; a check for `Health`."""
        return mistakes(self.problems, "routes", self._loaded_s)

    def _told(self) -> None:
        self._log.info(
            "routes in force", path=str(self.path), routes=len(self.file.routes), devices=sorted(self.file.devices)
        )
