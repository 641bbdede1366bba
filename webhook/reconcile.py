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
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from contract.commands import decode_command
from contract.errors import ContractError
from service import logs
from service.failpoints import crash_at
from webhook import metrics, publisher
from webhook.claims import Claims
from webhook.clock import steady_s
from webhook.commands import Commands, Pin
from webhook.database import Database
from webhook.holds import Holds
from webhook.observed import Observed
from webhook.publisher import Publisher
from webhook.survey import AT_REST, Differences, Survey, astray

__all__ = ["Reconciler", "renewals_per_tick"]

_T = TypeVar("_T")

_TICK_S = 0.2
# After a connect the retained messages come in a burst; comparing before its end would send everything again.
_SETTLE_S = 0.3
_SURVEY_S = 5.0
# Between two pages of a survey, for those who wait for the database or the interpreter.
_REST_S = 0.005
# The commands of one device are not sent again more often than this, however often it publishes its info.
_INFO_S = 1.0
# Renewals keep to this many times the even rate: enough to catch up after a pause, without a burst.
_RENEWAL_HASTE = 2.0
_LEAST_RENEWALS = 20
# The database and the broker are left to others between two such batches of commands.
_BATCH = 500
_CLOCK_STEP_S = 2.0
_PRUNE_S = 600.0


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
        self._survey = Survey(database, commands, observed, reconcile_s, drift_s, dry_run)
        self._pages_per_tick = 1
        self._round_over = True
        self._database = database
        self._claims = claims
        self._commands = commands
        self._sender = sender
        self._observed = observed
        self._connected = connected
        self._survey_s = min(_SURVEY_S, reconcile_s)
        self._log = logs.get("reconcile")
        self._wake = threading.Event()
        self._stopping = False
        self._infos: dict[str, float] = {}  # device -> when (monotonic) its commands may be sent again
        self._last_info: dict[str, float] = {}
        self._all_at_once = False  # the connection is new: compare without waiting for the usual intervals
        self._next_survey = 0.0
        self._next_prune = 0.0
        self._failure = ""
        self._clock_offset_s = time.time() - steady_s()
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
        # In this order, and a step that fails ends the tick: while claims cannot be ended no lease is renewed either,
        # and the devices fall back to safe by themselves.
        self._follow_clock()
        now_s = time.time()
        self._record()
        self._database.tidy()
        if not self.adopted and self.settled:  # by then the devices have told what they declare
            self._sender.carry_out(lambda: self._claims.adopt(now_s))
            self.adopted = True
            self._log.info("broker heard out", commands=len(self._observed.retained), pins=len(self._observed.reported))
        self._sender.carry_out(lambda: self._claims.expire(now_s))
        self._sender.carry_out(lambda: self._claims.look_again(now_s))
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + _PRUNE_S
            self._sender.carry_out(lambda: self._claims.prune(now_s))
        if self.adopted and self._connected():  # not before: another webhook may be at work here (`sole`)
            self._answer_infos(now_s)
            self._reissue(self._due(now_s), now_s, publisher.RENEWED)
        self._look(now_s)

    def _follow_clock(self) -> None:
        """Move what is stored in wall time when the wall clock was set: leases and claims last as long as before."""
        offset_s = time.time() - steady_s()
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
            return self._commands.due(now_s, renewals_per_tick(self._survey.live, self._commands.ttl_s))

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
                strays = reported is not None and astray(reported, self._observed.default(pin))
                if not idle or strays or (reported is not None and reported.why not in AT_REST):
                    again.append(pin)
        self._reissue(again, now_s, publisher.RECONCILED)

    def _look(self, now_s: float) -> None:
        """Compare every pin's command with what the broker holds and what the device reports: some of them each tick.

        All of them at once when the connection is new. A round that takes longer than it should is ended first, or the
        pins at its end would never have their turn.
        """
        at_once = self._all_at_once and self.settled
        if at_once:
            self._all_at_once = False  # before reading: a connect from here on asks for another round
        if at_once or (self._round_over and time.monotonic() >= self._next_survey):
            self._round_over = False
            self._next_survey = time.monotonic() + self._survey_s
            self._pages_per_tick = math.ceil(self._survey.begin() * _TICK_S / self._survey_s)
        again: list[Pin] = []
        looked = 0
        while at_once or looked < self._pages_per_tick:
            settled = self.settled  # before reading, and still below: what came meanwhile is compared the next time
            found = self._survey.look(now_s, at_once)
            if found is None:
                self._round_over = True
                break
            looked += 1
            if settled:
                again += found.again
                self._withdraw(found)
            if looked < self._pages_per_tick:
                self._wake.wait(_REST_S)
        if again:
            self._log.info("commands differ", pins=len(again), first="/".join(again[0]))
            self._reissue(again, now_s, publisher.RECONCILED)

    def _withdraw(self, found: Differences) -> None:
        """Take back the commands that were sent before dry-run."""
        for pin, retained in found.rehearsed.items():
            if self._is_ours(retained):
                self._log.info("released: dry-run", pin="/".join(pin))
                self._sender.withdraw(pin)

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


def _taken(queue: deque[_T]) -> list[_T]:
    """Return what is in the queue and empty it, while others append."""
    return [queue.popleft() for _ in range(len(queue))]
