"""A model of what a pin should be, beside the real webhook and the firmware's pin, through all that can go wrong.

The model knows the rules of the documentation and nothing of the code: which word
of an alert counts, when claims end, who wins. Notifications are lost, repeated,
reordered and delayed; the webhook is killed before and after its commits; broker,
link and device go and come back; the clock is set. Two things must hold:

* never too long: a pin is on only while somebody wants it, and for one lease after that, whatever is broken;
* right again: once everything stands, the pin is what the model says within seconds, and after three reads of the
  active alerts it is what is really firing.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from service import logs
from service.settings import LogSettings
from tests.webhook.grafana import Alerting
from tests.webhook.world import CLAIM_TTL_S, LINK_LOST_S, PIN, RECONCILE_S, TTL_S, Crashed, World
from webhook.active import active_alerts
from webhook.arbiter import PERSON, SLOTS, Claim
from webhook.dialects import FIRING, RESOLVED, UNKNOWN, Notification, decode

# From here on everything has had its turn: a survey, a correction, the broker's retained messages.
CALM_S = 2 * RECONCILE_S + 5
STEP_S = 2.0
# A lease outlives its claim by 5 s.
LATEST_S = TTL_S + 5 + 2 * STEP_S

_STRENGTH = {FIRING: 0, UNKNOWN: 1, RESOLVED: 2}
# Name -> what it wants of the pin, and in which slot.
ALERTS = {"hot": (1, "alert"), "dry": (1, "threshold"), "fire": (0, "safety")}


class Heard:
    """What was last heard of an alert: when its episode began, the word, when that was said and how long it holds."""

    def __init__(self, began: float, word: int, seen: float) -> None:
        self.began = began
        self.word = word
        self.seen = seen
        self.until = seen + CLAIM_TTL_S if word == 0 else 0.0


class Model:
    """What the pin should be, from what was heard."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.absent: set[str] = set()
        self.person: tuple[int, float] | None = None

    def hear(self, one: Notification, now: float) -> None:
        """Take in a word: the newest episode counts, and in it the strongest; a start in the future orders nothing."""
        before = self.heard.get(one.fingerprint)
        word = _STRENGTH[one.status]
        if before and before.began <= now and (one.starts_at, word) < (before.began, before.word):
            return
        self.heard[one.fingerprint] = Heard(one.starts_at, word, now)

    def firing(self, now: float) -> dict[str, Heard]:
        return {name: one for name, one in self.heard.items() if one.word == 0 and one.until > now}

    def read(self, listed: list[Notification], now: float) -> None:
        """Take in the list of active alerts; what is missing twice in a row ends."""
        firing = self.firing(now)
        for one in listed:
            known = firing.get(one.fingerprint)
            if not known or known.began != one.starts_at or not 0 <= now - known.seen < CLAIM_TTL_S / 3:
                self.hear(one, now)
        absent = firing.keys() - {one.fingerprint for one in listed}
        for name in absent & self.absent:
            self.heard[name].until = now
        self.absent = absent - self.absent

    def shift(self, step_s: float) -> None:
        """The clock was set while the webhook ran: everything lasts as long as before."""
        for one in self.heard.values():
            one.until += step_s
            one.seen += step_s
        if self.person:
            self.person = (self.person[0], self.person[1] + step_s)

    def restarted(self, now: float) -> None:
        """No alert's claim lasts longer than one that is made now."""
        self.absent.clear()
        for one in self.heard.values():
            if one.until > now + CLAIM_TTL_S + 1:
                one.until = now + CLAIM_TTL_S

    def value(self, now: float) -> int:
        person = self.person[0] if self.person and self.person[1] > now else None
        return _winner(set(self.firing(now)), person)


def _winner(firing: set[str], person: int | None) -> int:
    wishes = [(SLOTS.index(slot), -value) for value, slot in (ALERTS[name] for name in firing)]
    if person is not None:
        wishes.append((SLOTS.index("manual"), -person))
    return -min(wishes)[1] if wishes else 0


class Loop(RuleBasedStateMachine):
    """One world, and whatever happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.model = Model()
        self.truth = Alerting()
        self.mailbox: list[bytes] = []
        self.wanted_at_s = 0.0
        self.calm_since_s = 0.0
        self.wanted = 0
        self.world = World(Path(self._folder.name), self.look, self._restarted)

    def teardown(self) -> None:
        """End; a history that went well so far has to end well, too."""
        try:
            if sys.exc_info()[0] is None:
                self.mend_everything()
        finally:
            self.world.close()
            self._folder.cleanup()

    @property
    def now(self) -> float:
        return self.world.clock.wall_s

    def disturb(self) -> None:
        """Something happened that has to be got over."""
        self.calm_since_s = self.world.clock.run_s

    def look(self) -> None:
        """Compare the pin with the model; after every step of time."""
        run_s, level = self.world.clock.run_s, self.world.device.level
        wanted = self.model.value(self.now)
        if wanted != self.wanted or not self._all_stands():
            self.wanted = wanted
            self.disturb()
        if wanted:
            self.wanted_at_s = run_s
        assert not level or run_s - self.wanted_at_s <= LATEST_S, f"on for {run_s - self.wanted_at_s} s unwanted"
        if run_s - self.calm_since_s > CALM_S:
            assert level == wanted, f"the pin is {level}, the model says {wanted}"

    def _all_stands(self) -> bool:
        webhook = self.world.webhook
        return bool(webhook and webhook.connected and self.world.device.linked and self.world.broker.up)

    # What really happens, and what the sender says of it.

    @initialize()
    def meet(self) -> None:
        """Let the webhook learn whose alerts it reads: one is posted, and seen in the list."""
        logs.setup("webhook", LogSettings(log_level="error"))
        self.world.advance(2)
        self.fire("hot")
        self.deliver(0, keep=False)
        self.read()
        self.end("hot", unknown=False)
        self.deliver(0, keep=False)
        self.fire("dry")
        self.deliver(0, keep=True)

    @rule(name=st.sampled_from(sorted(ALERTS)))
    def fire(self, name: str) -> None:
        """An alert begins, and a notification sets out."""
        if name not in self.truth.alerts:
            value, slot = ALERTS[name]
            began_s = self.world.clock.right_s()
            self.truth.fire(name, f"lights/red={value}", began_s, slot=slot)
            self.mailbox.append(self.truth.post(self.truth.alerts[name]))

    @rule(name=st.sampled_from(sorted(ALERTS)), unknown=st.booleans())
    def end(self, name: str, unknown: bool) -> None:
        """An alert ends, and a notification sets out."""
        if name in self.truth.alerts:
            alert = self.truth.resolve(name)
            self.mailbox.append(self.truth.post(alert, "resolved", "MissingSeries" if unknown else ""))

    @rule()
    def repeat(self) -> None:
        """The sender says again what is firing."""
        self.mailbox += [self.truth.post(alert) for alert in self.truth.alerts.values()]

    # What becomes of the notifications.

    @precondition(lambda self: self.mailbox)
    @rule(index=st.integers(0, 20), keep=st.booleans())
    def deliver(self, index: int, keep: bool) -> None:
        """One of them arrives, in any order; it may arrive again."""
        at = index % len(self.mailbox)
        body = self.mailbox[at] if keep else self.mailbox.pop(at)
        webhook = self.world.webhook
        if webhook:
            try:
                webhook.alerts.receive(body)
                heard = True
            except Crashed as boundary:
                heard = str(boundary) == "after"
                self._restart()
            if heard:
                for one in decode(body, self.now).notifications:
                    self.model.hear(one, self.now)
        self.world.advance(1)

    @precondition(lambda self: self.mailbox)
    @rule(index=st.integers(0, 20))
    def lose(self, index: int) -> None:
        """One of them is lost."""
        self.mailbox.pop(index % len(self.mailbox))

    @rule()
    def read(self) -> None:
        """The webhook reads the active alerts."""
        webhook = self.world.webhook
        if webhook:
            webhook.boundary.fuse = None  # what a half-followed list says is said again by the next one
            listed = active_alerts(self.truth.listed(), self.now, "grafana http://grafana:3000")
            webhook.publisher.carry_out(lambda: webhook.follower.follow(listed, self.now, self.now))
            self.model.read([one.notification for one in listed], self.now)
        self.world.advance(1)

    @rule(value=st.integers(0, 1), for_s=st.sampled_from([5, 60, 600]))
    def ask(self, value: int, for_s: int) -> None:
        """A person asks for something."""
        self._person(Claim(*PIN, PERSON, value, "manual", "ana", self.now, self.now + for_s))

    @rule()
    def let_go(self) -> None:
        """A person lets go."""
        self._person(None)

    def _person(self, claim: Claim | None) -> None:
        webhook = self.world.webhook
        if webhook:
            now = self.now
            try:
                webhook.publisher.carry_out(
                    lambda: webhook.claims.hold(claim, now) if claim else webhook.claims.let_go(PIN, now)
                )
                done = True
            except Crashed as boundary:
                done = str(boundary) == "after"
                self._restart()
            if done:
                self.model.person = (int(claim.value or 0), claim.until_s or 0) if claim else None
        self.world.advance(1)

    # What breaks.

    @rule(seconds=st.sampled_from([1, 7, 20, 45, 160]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.world.advance(seconds, STEP_S)

    @rule(
        what=st.sampled_from(
            ["commit before", "commit after", "webhook", "line lost", "line unacked", "line twice", "broker",
             "broker's disk", "link", "power"]
        )
    )  # fmt: skip
    def break_something(self, what: str) -> None:
        """The webhook is killed now or at its next commit; its next command, the broker, link or power is lost."""
        word, _, detail = what.partition(" ")
        webhook = self.world.webhook
        if word == "commit" and webhook:
            webhook.boundary.fuse = detail
        elif word == "webhook":
            self.world.kill()
        elif word == "line" and webhook:
            webhook.line = detail
        elif word.startswith("broker"):
            self.world.stop_broker(forgets=bool(detail))
        elif word == "link":
            self.world.device.wanted_link = False
            self.world.device.hang_up()
        elif word == "power":
            self.world.device.boot()
            self.disturb()

    @rule(what=st.sampled_from(["webhook", "broker", "link"]))
    def mend_something(self, what: str) -> None:
        """What was away comes back."""
        if what == "webhook" and not self.world.webhook:
            self._restart()
        elif what == "broker":
            self.world.broker.up = True
        elif what == "link":
            self.world.device.wanted_link = True
        self.world.advance(1)

    def _restart(self) -> None:
        self.world.kill()
        self.world.start()
        self._restarted()

    def _restarted(self) -> None:
        self.model.restarted(self.now)
        self.disturb()

    @rule(step_s=st.sampled_from([-86400, -3600, -50, 50, 3600]))
    def set_clock(self, step_s: int) -> None:
        """The clock of the webhook's machine is set."""
        self.world.clock.wall_s += step_s
        if self.world.webhook:
            self.world.webhook.boundary.fuse = None
            self.model.shift(step_s)
            self.disturb()
            self.world.advance(1)

    @rule()
    def mend_everything(self) -> None:
        """Everything stands again: three reads later the pin is what is really firing, whatever was lost."""
        for what in ("webhook", "broker", "link"):
            self.mend_something(what)
        assert self.world.webhook is not None
        self.world.webhook.line, self.world.webhook.boundary.fuse = "ok", None
        for _ in range(3):
            self.read()
            self.world.advance(20, STEP_S)
        person = self.model.person[0] if self.model.person and self.model.person[1] > self.now else None
        assert self.world.device.level == _winner(set(self.truth.alerts), person)


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


def test_the_pin_is_what_the_model_says_through_everything_that_breaks() -> None:
    """A few histories, in seconds."""
    _run(max_examples=40, stateful_step_count=30)


@pytest.mark.long
def test_the_pin_is_what_the_model_says_through_many_histories() -> None:
    """More and longer ones, in a minute."""
    _run(max_examples=400, stateful_step_count=60)


def _run(**sizes: Any) -> None:
    assert LINK_LOST_S < LATEST_S
    run_state_machine_as_test(Loop, settings=settings(deadline=None, suppress_health_check=_QUIET, **sizes))
