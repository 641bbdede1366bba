"""The pin book: pins.yml as it is in force, read again when it changes or on SIGHUP.

A file with a mistake never replaces one that works: what was said before stays
in force, and the mistake is told in the log, in /readyz and by a counter. What
the file says anew of a pin is judged at once: a stricter guard may switch it
off, a looser one lets what waited pass.
"""

import time
from collections.abc import Callable
from pathlib import Path

from service import logs
from service.document import DocumentError, Problem
from service.errors import SettingsError
from service.watch import Watch
from service.watched_file import WatchedFile, mistakes
from webhook import metrics
from webhook.commands import Pin
from webhook.guards import Limits
from webhook.pin_file import PinConfig, load_pins
from webhook.settings import preferences_of

__all__ = ["PinBook"]


class PinBook:
    """What the file (and the setting `preferences`) says of single pins.

    Args:
        path: the file; empty: there is none, and nothing to follow.
        preferences: the setting.
        on_change: called with the pins of which the file says something else than what was acted upon last; when it
            raises (a full disk), it is called again a second later.

    Attributes:
        pins: what is in force.
        preferences: pin -> preference, of the setting and the file.
        problems: of the file as it is now; empty when it is what is in force.

    Raises:
        DocumentError, SettingsError: the file has mistakes: at the start there is nothing older to go on with.
    """

    def __init__(
        self, path: Path, preferences: str, on_change: Callable[[list[Pin]], None] = lambda _pins: None
    ) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._setting = preferences
        self._on_change = on_change
        self._log = logs.get("pins")
        self._watched = WatchedFile(path)
        self.pins, self.preferences = self._load()
        self._acted_upon = self.pins
        self._loaded_s = time.time()
        self._watch = Watch("pins", self.look, self.reload)

    def limits(self) -> dict[Pin, Limits]:
        """Return the guards of every pin that the file names."""
        return {pin: config.limits for pin, config in self.pins.items()}

    def rehearses(self, pin: Pin) -> bool:
        """Tell whether the file says `dry_run` of a pin."""
        config = self.pins.get(pin)
        return config is not None and config.dry_run

    def rehearsed(self) -> list[str]:
        """Return the pins of which it says so, as device/pin."""
        return ["/".join(pin) for pin in sorted(self.pins) if self.rehearses(pin)]

    def start(self) -> None:
        """Begin to look; called on the main thread."""
        if self.path.name:
            self._told()
            self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        if self.path.name:
            self._watch.stop()

    def look(self) -> None:
        """Load the file again when it is worth it."""
        if self._watched.changed():
            self.reload()
        elif self._acted_upon is not self.pins:
            self._act()

    def reload(self) -> bool:
        """Load the file again; return whether what it says is in force."""
        self._watched.tried()
        try:
            pins, preferences = self._load()
        except (DocumentError, SettingsError) as error:
            found = error.problems if isinstance(error, DocumentError) else [_of(self.path, error)]
            self.problems = found
            metrics.PINS_RELOADS.labels("bad").inc()
            for problem in found:
                self._log.error("mistake in the pins file", problem=str(problem))
            self._log.error("the old pins file stays in force", pins=len(self.pins), mistakes=len(found))
            return False
        self.pins, self.preferences, self.problems, self._loaded_s = pins, preferences, [], time.time()
        metrics.PINS_RELOADS.labels("ok").inc()
        self._told()
        self._act()
        return True

    def problem(self) -> str | None:
        """Say what is wrong with the file, None when it is in force; a check for `Health`."""
        return mistakes(self.problems, "guards", self._loaded_s)

    def _load(self) -> tuple[dict[Pin, PinConfig], dict[Pin, str]]:
        pins = load_pins(self.path)
        return pins, preferences_of(self._setting, pins)

    def _act(self) -> None:
        pins, before = self.pins, self._acted_upon
        changed = [pin for pin in sorted(before.keys() | pins.keys()) if before.get(pin) != pins.get(pin)]
        if changed:
            self._on_change(changed)
        self._acted_upon = pins

    def _told(self) -> None:
        self._log.info("pins file in force", path=str(self.path), pins=["/".join(pin) for pin in sorted(self.pins)])


def _of(path: Path, error: SettingsError) -> Problem:
    return Problem(str(path), 0, "", "", str(error))
