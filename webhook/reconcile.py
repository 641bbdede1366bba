"""The reconciler: keeps what stands at the broker and at the devices equal to what the claims say.

One thread. It ends claims whose time is over, renews leases, sends a device's
commands anew when its `info` comes, and sends again what the broker lost or a
device does not report. All of it is level-triggered: it compares, it does not
remember what went wrong. A message that it sends never makes a device publish
its info, so nothing here can run in a circle.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from prometheus_client import Gauge

from contract.commands import BOOT, COMMAND, EXPIRED, LINK_LOST, RELEASED, decode_command
from contract.errors import ContractError
from service import logs
from service.failpoints import crash_at
from webhook import metrics, publisher
from webhook.arbiter import SLOTS
from webhook.claims import Claims
from webhook.commands import Commands, Pin, PinCommand
from webhook.database import Database
from webhook.guards import GUARDS
from webhook.holds import Holds
from webhook.observed import Observed, Reported
from webhook.publisher import Publisher, payload_of

__all__ = ["Reconciler", "drift_since_s", "missing", "renewals_per_tick"]

_T = TypeVar("_T")

_TICK_S = 0.2
# After a connect the retained messages come in a burst; comparing before its end would send everything again.
_SETTLE_S = 0.3
_SURVEY_S = 5.0
# A topic on which somebody else writes is corrected no more often than this: two webhooks must not race for ever.
_CORRECTION_S = 5.0
# The commands of one device are not sent again more often than this, however often it publishes its info.
_INFO_S = 1.0
# Renewals keep to this many times the even rate: enough to catch up after a pause, without a burst.
_RENEWAL_HASTE = 2.0
_LEAST_RENEWALS = 20
# The database and the broker are left to others between two such batches of commands.
_BATCH = 500
_CLOCK_STEP_S = 2.0
_PRUNE_S = 600.0
# Whys of a pin that follows no command by itself.
_AT_REST = (RELEASED, BOOT, EXPIRED, LINK_LOST)


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
        return "device" if reported is not None and (reported.why == COMMAND or _astray(reported, default)) else ""
    if reported is None or reported.seq != command.seq:
        return "device"
    # It had the command, and left it: its lease ended or its link was lost while this service was away.
    return "device" if reported.why in (EXPIRED, LINK_LOST) and reported.value != command.value else ""


def _astray(reported: Reported, default: float | None) -> bool:
    """Tell whether a pin follows no command, and is not what it should be without a claim."""
    return reported.why in _AT_REST and default is not None and reported.value != default


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


def renewals_per_tick(live: int, ttl_s: float) -> int:
    """Return how many leases may be renewed in one tick, of `live` that last `ttl_s` seconds."""
    return max(_LEAST_RENEWALS, math.ceil(_RENEWAL_HASTE * live * _TICK_S / (ttl_s / 3)))


class Reconciler:
    """Runs until `stop`; the wake-ups come from other threads.

    Args:
        connected: tells whether the connection with the broker stands.
        reconcile_s: how long a device may leave a command unreported before it is sent again.
        drift_s: how long a pin may differ before it counts as drift.
        holds: the guards, None for none.
        dry_run: whether a pin's commands are only decided.

    Attributes:
        adopted: the broker was heard out, and what changed in the settings while we were away was looked at.
    """

    def __init__(
        self,
        database: Database,
        claims: Claims,
        commands: Commands,
        sender: Publisher,
        observed: Observed,
        connected: Callable[[], bool],
        reconcile_s: float,
        drift_s: float,
        holds: Holds | None = None,
        dry_run: Callable[[Pin], bool] = lambda _pin: False,
    ) -> None:
        self._holds = holds
        self._dry_run = dry_run
        self.adopted = False
        self._live = 0  # leases to be renewed, as of the last survey
        self._database = database
        self._claims = claims
        self._commands = commands
        self._sender = sender
        self._observed = observed
        self._connected = connected
        self._reconcile_s = reconcile_s
        self._drift_s = drift_s
        self._log = logs.get("reconcile")
        self._wake = threading.Event()
        self._stopping = False
        self._infos: dict[str, float] = {}  # device -> when (monotonic) its commands may be sent again
        self._last_info: dict[str, float] = {}
        self._all_at_once = False  # the connection is new: compare without waiting for the usual intervals
        self._next_survey = 0.0
        self._next_prune = 0.0
        self._failure = ""
        self._clock_offset_s = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End within a tick."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=5)

    def problem(self) -> str | None:
        """Say what is wrong, None when all is well; a check for `Health`."""
        return self._failure or (None if self._thread.is_alive() else "the reconciler is not running")

    def connection_stands(self) -> None:
        """Compare everything once the retained messages are here; called on the network thread."""
        self._observed.forget_retained()
        self._all_at_once = True
        self._wake.set()

    def info_came(self, device: str) -> None:
        """Send the device's commands anew: it may have restarted; called on the network thread."""
        self._infos.setdefault(device, max(time.monotonic(), self._last_info.get(device, 0.0) + _INFO_S))
        self._wake.set()

    @property
    def settled(self) -> bool:
        """Whether the retained messages have come in since the connection stands."""
        return self._connected() and time.monotonic() - self._observed.last_retained_s > _SETTLE_S

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            try:
                self._tick()
                self._failure = ""
            except Exception as error:  # noqa: BLE001  (a full disk: leases go on when it is over)
                if not self._failure:
                    self._log.exception("reconciling failed")
                self._failure = f"{type(error).__name__}: {error}"
        self._record()

    def _tick(self) -> None:
        self._follow_clock()
        now_s = time.time()
        self._record()
        self._database.tidy()
        if not self.adopted and self.settled:  # by then the devices have told what they declare
            self._sender.carry_out(lambda: self._claims.adopt(now_s))
            self.adopted = True
        self._sender.carry_out(lambda: self._claims.expire(now_s))
        self._sender.carry_out(lambda: self._claims.look_again(now_s))
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + _PRUNE_S
            self._sender.carry_out(lambda: self._claims.prune(now_s))
        if self._connected():
            self._answer_infos(now_s)
            self._reissue(self._due(now_s), now_s, publisher.RENEWED)
        if time.monotonic() >= self._next_survey or (self._all_at_once and self.settled):
            self._next_survey = time.monotonic() + min(_SURVEY_S, self._reconcile_s)
            self._survey(now_s)

    def _follow_clock(self) -> None:
        """Move what is stored in wall time when the wall clock was set: leases and claims last as long as before."""
        offset_s = time.time() - time.monotonic()
        step_s = offset_s - self._clock_offset_s
        if abs(step_s) > _CLOCK_STEP_S:
            self._log.warning("clock was set", step_s=round(step_s, 1))
            self._claims.shift(step_s, time.time())
            self._observed.shift(step_s)
        # Only now: on a full disk the step is still to be made. Small ones are slewing, and add up to nothing that
        # matters.
        self._clock_offset_s = offset_s

    def _due(self, now_s: float) -> list[Pin]:
        with self._database.lock:
            return self._commands.due(now_s, renewals_per_tick(self._live, self._commands.ttl_s))

    def _answer_infos(self, now_s: float) -> None:
        """Give each device whose info came its commands with a fresh lease, and release the pins without a claim."""
        ready = [device for device, at in list(self._infos.items()) if at <= time.monotonic()]
        for device in ready:
            self._last_info[device] = time.monotonic()
            del self._infos[device]
        again: list[Pin] = []
        for device in ready:
            with self._database.lock:
                stand = self._commands.of_device(device)
            claimed = self._claims.pins_of(device)
            for pin in claimed | stand.keys() | {(device, name) for name in self._observed.pins.get(device, ())}:
                command, reported = stand.get(pin), self._observed.reported.get(pin)
                idle = pin not in claimed and (command is None or command.value is None)
                astray = reported is not None and _astray(reported, self._observed.default(pin))
                if not idle or astray or (reported is not None and reported.why not in _AT_REST):
                    again.append(pin)
        self._reissue(again, now_s, publisher.RECONCILED)

    def _survey(self, now_s: float) -> None:
        """Compare every pin's command with what the broker holds and what the device reports."""
        settled = self.settled
        at_once = settled and self._all_at_once
        if at_once:
            self._all_at_once = False  # before reading: a connect from here on asks for another survey
        with self._database.lock:
            stand = self._commands.all()
            claims = self._claims.all()
            waiting = self._holds.waiting() if self._holds else {}
        self._live = sum(command.value is not None and not command.dry_run for command in stand.values())
        _gauge(metrics.CLAIMS, SLOTS, (claim.slot for claim in claims))
        _gauge(metrics.HELD_PINS, GUARDS, (one.by for one in waiting.values() if one.by))
        wait_s = {"broker": min(_CORRECTION_S, self._reconcile_s), "device": self._reconcile_s}
        again: list[Pin] = []
        drifting = 0
        for pin in stand.keys() | self._observed.retained.keys() | self._observed.reported.keys():
            command, reported = stand.get(pin), self._observed.reported.get(pin)
            expected = payload_of(command, self._database.epoch) if command else b""
            retained = self._observed.retained.get(pin, b"")
            if self._dry_run(pin):
                if settled and self._is_ours(retained):
                    self._log.info("released: dry-run", pin="/".join(pin))
                    self._sender.withdraw(pin)
                continue
            default = self._observed.default(pin)
            where = missing(command, expected, retained, reported, self._observed.online(pin[0]), default)
            if where and (at_once or command is None or not 0 <= now_s - command.at_s <= wait_s[where]):
                again.append(pin)
            since_s = drift_since_s(command, reported)
            drifting += since_s is not None and now_s - since_s > self._drift_s
        metrics.DRIFT_PINS.set(drifting)
        if settled and again:
            self._log.info("commands differ", pins=len(again), first="/".join(again[0]))
            self._reissue(again, now_s, publisher.RECONCILED)

    def _reissue(self, pins: Iterable[Pin], now_s: float, reason: str) -> None:
        wanted = [pin for pin in pins if not self._dry_run(pin)]
        for first in range(0, len(wanted), _BATCH):
            batch = wanted[first : first + _BATCH]
            self._sender.carry_out(lambda batch=batch: self._claims.reissue(batch, now_s), reason)  # type: ignore[misc]

    def _is_ours(self, retained: bytes) -> bool:
        """Tell whether a retained command is of this database: of others we know nothing, in dry-run."""
        try:
            command = decode_command(retained)
        except ContractError:
            return False
        return command is not None and command.epoch == self._database.epoch

    def _record(self) -> None:
        """Write down which commands were acknowledged and reported."""
        acked = _taken(self._sender.acked)
        reports = _taken(self._observed.reports)
        if not acked and not reports:
            return
        with self._database.transaction(durable=False):  # what a power cut takes of it is when, never what
            self._commands.acknowledge(acked)
            delays_s = [self._commands.report(*report) for report in reports]
        crash_at("reports.recorded")
        for delay_s in delays_s:
            if delay_s is not None:
                metrics.REPORT_S.observe(delay_s)


def _gauge(gauge: Gauge, labels: Iterable[str], seen: Iterable[str]) -> None:
    """Set a gauge with one label for each of `labels`, 0 for those not seen."""
    counted = Counter(seen)
    for label in labels:
        gauge.labels(label).set(counted[label])


def _taken(queue: deque[_T]) -> list[_T]:
    """Return what is in the queue and empty it, while others append."""
    return [queue.popleft() for _ in range(len(queue))]
