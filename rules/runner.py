"""The runner: readings and time into the evaluator, its transitions to the disk and to the poster.

One lock for the evaluator and the alerts. Readings come on the MQTT network
thread, ticks and reloads on the main thread, deliveries on the poster's.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rules import metrics
from rules.alerts import NO_DATA, Alert, ended, fired, next_start_s
from rules.evaluate import FIRING, RESOLVED, UNKNOWN, Evaluator, Key, Left, Transition
from rules.evaluate import State as Seen
from rules.intake import Reading
from rules.model import Rule
from rules.state import State
from service import logs

__all__ = ["Runner"]


class Runner:
    """Runs one set of rules, until `replace` gives it another.

    Args:
        rules: what to evaluate.
        state: the alerts that an earlier run left are taken from here.
        put: takes alerts to post and since when they changed; must not block.
        reassert_s: seconds after which a firing alert is posted again.
        clock: seconds that never jump, for windows and delays.
        wall: seconds since 1970, for `startsAt` and daily rules.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        state: State,
        put: Callable[[Sequence[Alert], float], None],
        reassert_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._put = put
        self._reassert_s = reassert_s
        self._clock = clock
        self._wall = wall
        self._log = logs.get("runner")
        self._lock = threading.Lock()
        self._alerts: dict[Key, Alert] = {}
        self._undelivered: set[Key] = set()
        self._news: list[Alert] = []  # what changed since the last report
        self._posted_s: dict[Key, float] = {}  # when a firing alert was handed to the poster last
        self._begun_anew: set[Key] = set()  # stale to the webhook, and posted as a new episode
        self.state_problem: str | None = None
        for stored in state.load():
            self._alerts[stored.alert.key] = stored.alert
            if not stored.delivered:
                self._undelivered.add(stored.alert.key)
        self._evaluator = Evaluator(rules, self._left(), clock())

    def start(self) -> None:
        """Post what the last run could not, and resolve what no rule is about any more.

        An alert that was left firing is not posted before a reading confirms it: its claim may have ended long ago, and
        nobody knows yet whether its condition still holds.
        """
        with self._lock:
            now_s = self._clock()
            self._put([self._alerts[key] for key in self._undelivered if self._alerts[key].status != FIRING], now_s)
            self._resolve_orphans(now_s)

    def feed(self, reading: Reading) -> None:
        """Take a reading; runs on the MQTT network thread."""
        with self._lock:
            if self._evaluator.wants(reading.sensor):
                now_s = self._clock()
                metrics.EVALUATED.inc()
                self._apply(self._evaluator.feed(reading.device, reading.sensor, reading.value, now_s), now_s)

    def tick(self) -> None:
        """Let the time pass; call it several times a second."""
        with self._lock:
            now_s = self._clock()
            self._apply(self._evaluator.tick(now_s, self._wall()), now_s)
            due = [key for key, posted_s in self._posted_s.items() if now_s >= posted_s + self._reassert_s]
            if due:
                self._post([self._alerts[key] for key in due], now_s)

    def replace(self, rules: Sequence[Rule]) -> None:
        """Go on with other rules: what did not change keeps its state, what is gone is resolved."""
        with self._lock:
            now_s = self._clock()
            self._evaluator = Evaluator(rules, self._left(), now_s, self._evaluator)
            for key in list(self._posted_s):
                if not self._evaluator.confirmed(key):
                    del self._posted_s[key]
            self._resolve_orphans(now_s)

    def delivered(self, alerts: Sequence[Alert]) -> None:
        """Note what the webhook took; runs on the poster's thread."""
        with self._lock:
            self._begun_anew.difference_update(alert.key for alert in alerts)
            news = [alert for alert in alerts if alert.key in self._undelivered and self._alerts[alert.key] == alert]
            self._undelivered.difference_update(alert.key for alert in news)
        if news:
            self._written(lambda: self._state.delivered(news))

    def stale(self, alerts: Sequence[Alert]) -> None:
        """Begin a new episode of firing alerts whose end the webhook knows; runs on the poster's thread.

        Our database lost that end (a power cut, a copy put back). When the new episode is stale too, the next
        assertion tries again.
        """
        with self._lock:
            again = []
            for alert in alerts:
                if self._alerts[alert.key] != alert or not self._evaluator.confirmed(alert.key):
                    continue  # it changed meanwhile: what is on its way says more
                if alert.key in self._begun_anew:
                    self._begun_anew.remove(alert.key)
                else:
                    self._begun_anew.add(alert.key)
                    again.append(replace(alert, starts_at_s=next_start_s(alert, self._wall())))
            self._change(again, self._clock())

    def report(self) -> None:
        """Log and count what changed; in `feed` that would hold up the post by a tenth of a millisecond."""
        with self._lock:
            news, self._news = self._news, []
            metrics.FIRING_NOW.set(sum(alert.status == FIRING for alert in self._alerts.values()))
        for alert in news:
            rule, device = alert.key
            metrics.TRANSITIONS.labels(alert.status).inc()
            self._log.info(f"alert {alert.status}", rule=rule, device=device, summary=alert.annotations["summary"])

    def look(self, view: Callable[[Sequence[Seen], Mapping[Key, Alert], float], object]) -> object:
        """Return what `view` makes of the states, the alerts and the clock, while nothing changes."""
        with self._lock:
            return view(list(self._evaluator.states()), self._alerts, self._clock())

    def _left(self) -> dict[Key, Left]:
        return {
            key: Left(alert.status, by_silence=alert.status == FIRING and alert.reason == NO_DATA)
            for key, alert in self._alerts.items()
            if alert.status != RESOLVED
        }

    def _resolve_orphans(self, now_s: float) -> None:
        wall_s = self._wall()
        orphans = [
            ended(alert, RESOLVED, wall_s)
            for key, alert in self._alerts.items()
            if alert.status != RESOLVED and not self._evaluator.covers(key)
        ]
        self._change(orphans, now_s)

    def _apply(self, transitions: Sequence[Transition], now_s: float) -> None:
        if not transitions:
            return
        wall_s = self._wall()
        changed: list[Alert] = []
        for transition in transitions:
            previous = self._alerts.get(transition.key)
            if transition.to == FIRING:
                changed.append(fired(transition, previous, wall_s))
            elif previous:
                changed.append(ended(previous, transition.to, wall_s))
        self._change(changed, now_s)

    def _change(self, alerts: Sequence[Alert], now_s: float) -> None:
        """Make these the alerts that stand: on the disk first, then on their way."""
        if not alerts:
            return
        self._written(lambda: self._state.save(alerts))
        for alert in alerts:
            self._alerts[alert.key] = alert
            self._undelivered.add(alert.key)
        self._post(alerts, now_s)
        self._news.extend(alerts)

    def _post(self, alerts: Sequence[Alert], now_s: float) -> None:
        for alert in alerts:
            if alert.status == FIRING:
                self._posted_s[alert.key] = now_s
            else:
                self._posted_s.pop(alert.key, None)
        self._put(alerts, now_s)

    def _written(self, write: Callable[[], None]) -> None:
        """Write to the state database; without it alerts still go out, and only a restart would forget them."""
        try:
            write()
            self.state_problem = None
        except sqlite3.Error as error:
            metrics.STATE_ERRORS.inc()
            self.state_problem = f"the state database cannot be written ({error})"
            self._log.error(self.state_problem)


for _status in (FIRING, RESOLVED, UNKNOWN):
    metrics.TRANSITIONS.labels(_status)
