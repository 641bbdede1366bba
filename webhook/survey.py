"""The survey: every pin's command beside what the broker holds and what the device reports, page by page.

Thousands of pins take tens of milliseconds of computing, during which an alert
would wait for the database and for the interpreter. So a round looks at a page
of pins at a time and leaves both to others in between; each pin has its turn
once a round.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import Gauge

from contract.commands import BOOT, COMMAND, EXPIRED, LINK_LOST, RELEASED
from webhook import metrics
from webhook.arbiter import SLOTS
from webhook.commands import Commands, Pin, PinCommand
from webhook.database import Database
from webhook.guards import GUARDS
from webhook.observed import Observed, Reported
from webhook.publisher import payload_of

__all__ = ["AT_REST", "PAGE", "Differences", "Survey", "astray", "drift_since_s", "missing"]

PAGE = 50
"""So many pins are looked at in one go: about a millisecond."""

# A topic on which somebody else writes is corrected no more often than this: two webhooks must not race for ever.
_CORRECTION_S = 5.0
AT_REST = (RELEASED, BOOT, EXPIRED, LINK_LOST)
"""Whys of a pin that follows no command by itself."""


def missing(
    command: PinCommand | None,
    expected: bytes,
    retained: bytes,
    reported: Reported | None,
    online: bool,
    default: float | None,
) -> str:
    """Say why a pin's command has to be sent again: "broker", "device", or "" when it has not.

    Args:
        command: the one that stands, None when the pin never had one.
        expected: its payload.
        retained: the payload that the broker holds, b"" for none.
        reported: what the device last said of the pin, None for nothing.
        online: whether the device says that it is there.
        default: what the pin should be without a claim, None while nobody knows.
    """
    if retained != expected:
        return "broker"
    if not online:
        return ""
    if command is None or command.value is None:
        return "device" if reported is not None and (reported.why == COMMAND or astray(reported, default)) else ""
    if reported is None or reported.seq != command.seq:
        return "device"
    # It had the command, and left it: its lease ended or its link was lost while this service was away.
    return "device" if reported.why in (EXPIRED, LINK_LOST) and reported.value != command.value else ""


def astray(reported: Reported, default: float | None) -> bool:
    """Tell whether a pin follows no command, and is not what it should be without a claim."""
    return reported.why in AT_REST and default is not None and reported.value != default


def drift_since_s(command: PinCommand | None, reported: Reported | None) -> float | None:
    """Return since when (seconds since 1970) a pin is not what it should be; None: it is, or nothing is asked of it."""
    if command is None or command.dry_run:
        return None
    if command.value is None:
        if reported is None or reported.why != COMMAND:
            return None
        return command.changed_s
    if reported is None:
        return command.changed_s
    return None if reported.value == command.value else max(command.changed_s, reported.since_s)


@dataclass
class Differences:
    """What a page shows.

    Attributes:
        again: pins whose command is to be sent again.
        rehearsed: pins in dry-run at which the broker holds a command, with its payload.
    """

    again: list[Pin] = field(default_factory=list)
    rehearsed: dict[Pin, bytes] = field(default_factory=dict)


class Survey:
    """Rounds over all pins; one thread.

    Args:
        reconcile_s: how long a device may leave a command unreported before it is sent again.
        drift_s: how long a pin may differ before it counts as drift.
        dry_run: whether a pin's commands are only decided.

    Attributes:
        live: leases to be renewed, as of the last round.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        observed: Observed,
        reconcile_s: float,
        drift_s: float,
        dry_run: Callable[[Pin], bool],
    ) -> None:
        self._database = database
        self._commands = commands
        self._observed = observed
        self._drift_s = drift_s
        self._dry_run = dry_run
        self._wait_s = {"broker": min(_CORRECTION_S, reconcile_s), "device": reconcile_s}
        self._pages: Iterator[Mapping[Pin, PinCommand | None]] = iter(())
        self.live = 0
        self._now_live = self._drifting = 0  # of the round that is under way

    def begin(self) -> int:
        """Begin a round, also when the one before has not ended; return about how many pages it has."""
        with self._database.lock:
            pins = self._commands.count()
        self._pages = self._round()
        return 1 + (pins + len(self._observed.reported)) // PAGE

    def look(self, now_s: float, at_once: bool) -> Differences | None:
        """Look at the next page; None when the round is at its end.

        Args:
            now_s: seconds since 1970.
            at_once: do not wait for what may be on its way.
        """
        page = next(self._pages, None)
        if page is None:
            return None
        found = Differences()
        for pin, command in page.items():
            self._compare(pin, command, now_s, at_once, found)
        return found

    def _compare(self, pin: Pin, command: PinCommand | None, now_s: float, at_once: bool, found: Differences) -> None:
        reported = self._observed.reported.get(pin)
        retained = self._observed.retained.get(pin, b"")
        self._now_live += command is not None and command.value is not None and not command.dry_run
        if self._dry_run(pin):
            if retained:
                found.rehearsed[pin] = retained
            return
        expected = payload_of(command, self._database.epoch) if command else b""
        default = self._observed.default(pin)
        where = missing(command, expected, retained, reported, self._observed.online(pin[0]), default)
        if where and (at_once or command is None or not 0 <= now_s - command.at_s <= self._wait_s[where]):
            found.again.append(pin)
        since_s = drift_since_s(command, reported)
        self._drifting += since_s is not None and now_s - since_s > self._drift_s

    def _round(self) -> Iterator[Mapping[Pin, PinCommand | None]]:
        """Yield the pins that have a command, and then those that only the broker or a device tells of."""
        self._now_live = self._drifting = 0
        seen: set[Pin] = set()
        last: Pin = ("", "")
        while True:
            with self._database.lock:
                page = self._commands.after(last, PAGE)
            if not page:
                break
            seen.update(page)
            last = next(reversed(page))
            yield page
        others = sorted((set(self._observed.retained) | set(self._observed.reported)) - seen)
        for first in range(0, len(others), PAGE):
            with self._database.lock:  # some may have got their first command since
                reread = {pin: self._commands.of(pin) for pin in others[first : first + PAGE]}
            yield reread
        self._end()

    def _end(self) -> None:
        """Show what the round has counted."""
        self.live = self._now_live
        metrics.DRIFT_PINS.set(self._drifting)
        with self._database.lock:
            claims = self._database.connection.execute("SELECT slot, count(*) FROM claims GROUP BY slot").fetchall()
            held = self._database.connection.execute(
                "SELECT held_by, count(*) FROM guards WHERE held_by != '' GROUP BY held_by"
            ).fetchall()
        _gauge(metrics.CLAIMS, SLOTS, claims)
        _gauge(metrics.HELD_PINS, GUARDS, held)


def _gauge(gauge: Gauge, labels: Iterable[str], counted: Iterable[tuple[str, int]]) -> None:
    """Set a gauge with one label for each of `labels`, 0 for those not counted."""
    counts = Counter(dict(counted))
    for label in labels:
        gauge.labels(label).set(counts[label])
