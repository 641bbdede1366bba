"""One world with a plan, what may happen to it, and what must hold all the time.

* decided right: what the database commands is what the model says, after every event and every tick, to the second;
* never too long: a pin is on only while somebody wants it, and for one lease after that, whatever is broken; never
  beyond `max_on_s`; of two exclusive pins never both;
* right again: once everything stands, the pin is what the model says within seconds, and after three reads of the
  active alerts the claims are what is really firing, but for alerts that were never in the list.
"""

import json
import sqlite3
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tests.webhook.grafana import Alerting
from tests.webhook.plans import Plan
from tests.webhook.wanted import Person, Wanted
from tests.webhook.world import CLAIM_TTL_S, RECONCILE_S, TTL_S, Clock, Crashed, World, set_topic
from webhook.active import active_alerts
from webhook.arbiter import PERSON, Claim
from webhook.commands import Pin
from webhook.dialects import decode
from webhook.guards import Limits

__all__ = ["STEP_S", "History"]

STEP_S = 2.0
# From here on everything has had its turn: a survey, a correction, the broker's retained messages.
_CALM_S = 2 * RECONCILE_S + 5
# A lease outlives its claim, or its guard, by 5 s.
_GRACE_S = 5
_LATEST_S = TTL_S + _GRACE_S + 2 * STEP_S


class History:
    """What happened so far; each method lets one more thing happen."""

    def __init__(self, plan: Plan, clock: Clock, folder: Path) -> None:
        self.plan = plan
        self.model = Wanted(plan.asks, plan.limits)
        self.truth = Alerting()
        self.mailbox: list[bytes] = []
        self._wanted_at_s = dict.fromkeys(plan.pins, 0.0)
        self._asked_at_s = dict.fromkeys(plan.pins, 0.0)
        self._on_since_s = dict.fromkeys(plan.pins, 0.0)
        self._off_since_s = dict.fromkeys(plan.pins, clock.run_s)
        self._nobody_at_s = dict.fromkeys(plan.pins, clock.run_s)
        self._fresh = True
        self._calm_since_s = clock.run_s
        self._safety_since_s = dict.fromkeys(plan.pins, clock.run_s)
        self._expected: object = None
        # A device that guards itself counts from its own switching, which may be later than the command's.
        self._own = {pin: Limits(**plan.declared.get(pin, {})) for pin in plan.pins}
        self._extra_s = max(own.min_on_s + own.min_off_s for own in self._own.values())
        self.world = World(clock, folder, plan.devices(), plan.limits, self._started, self._switched, self.look)
        self.world.start()

    @property
    def now(self) -> float:
        return self.world.clock.wall_s

    def begin(self) -> None:
        """Let the webhook learn whose alerts it reads: one is posted, and seen in the list."""
        self.wait(2)
        name = sorted(self.plan.asks)[0]
        self.fire(name, at_once=True)
        self.read()
        self.end(name, at_once=True)
        self.wait(2)

    # What really happens, and what the sender says of it.

    def fire(self, name: str, *, at_once: bool = False) -> None:
        """An alert begins, and a notification sets out; at once: it arrives."""
        if name not in self.truth.alerts:
            ask = self.plan.asks[name]
            self.truth.fire(name, f"{'/'.join(ask.pin)}={ask.value}", self.world.clock.right_s(), slot=ask.slot)
            self._post(self.truth.post(self.truth.alerts[name]), at_once)

    def end(self, name: str, *, unknown: bool = False, at_once: bool = False) -> None:
        """An alert ends, and a notification sets out."""
        if name in self.truth.alerts:
            alert = self.truth.resolve(name)
            self._post(self.truth.post(alert, "resolved", "MissingSeries" if unknown else ""), at_once)

    def repeat(self) -> None:
        """The sender says again what is firing, in one body."""
        bodies = [json.loads(self.truth.post(alert)) for alert in self.truth.alerts.values()]
        if bodies:
            alerts = [alert for body in bodies for alert in body["alerts"]]
            self.mailbox.append(json.dumps({**bodies[0], "alerts": alerts}).encode())

    def _post(self, body: bytes, at_once: bool) -> None:
        self.mailbox.append(body)
        if at_once:
            self.deliver(len(self.mailbox) - 1, keep=False)

    # What becomes of the notifications.

    def deliver(self, index: int, *, keep: bool) -> None:
        """One of them arrives, in any order; it may arrive again."""
        at = index % len(self.mailbox)
        body = self.mailbox[at] if keep else self.mailbox.pop(at)
        webhook = self.world.webhook
        if webhook and self._committed(lambda: webhook.alerts.receive(body)):
            for one in decode(body, self.now).notifications:
                self.model.hear(one, self.now)
        self._happened()

    def deliver_together(self) -> None:
        """All of them arrive while a commit is under way: they are committed as one."""
        bodies = [decode(body, self.now).notifications for body in self.mailbox]
        self.mailbox.clear()
        webhook = self.world.webhook

        def act() -> None:
            assert webhook is not None
            taken = webhook.claims.notify_all([(notifications, self.now) for notifications in bodies])
            webhook.publisher.send([command for _, commands in taken for command in commands])

        if webhook and self._committed(act):
            for one in chain.from_iterable(bodies):
                self.model.hear(one, self.now)
        self._happened()

    def lose(self, index: int) -> None:
        """One of them is lost."""
        self.mailbox.pop(index % len(self.mailbox))

    def read(self) -> None:
        """The webhook reads the active alerts."""
        webhook = self.world.webhook
        if webhook:
            webhook.boundary.fuse = None  # what a half-followed list says is said again by the next one
            listed = active_alerts(self.truth.listed(), self.now, "grafana http://grafana:3000")
            webhook.publisher.carry_out(lambda: webhook.follower.follow(listed, self.now, self.now))
            self.model.read([one.notification for one in listed], self.now)
        self._happened()

    # People.

    def ask(self, pin: Pin, value: int, for_s: int, slot: str = "manual") -> None:
        """A person asks for something."""
        until_s = self.now + for_s
        claim = Claim(*pin, PERSON, value, slot, "ana", self.now, until_s)
        webhook = self.world.webhook
        if webhook and self._committed(
            lambda: webhook.publisher.carry_out(lambda: webhook.claims.hold(claim, self.now))
        ):
            self.model.people[pin] = Person(value, claim.since_s, until_s, slot)
        self._happened()

    def let_go(self, pin: Pin) -> None:
        """A person lets go."""
        webhook = self.world.webhook
        if webhook and self._committed(
            lambda: webhook.publisher.carry_out(lambda: webhook.claims.let_go(pin, self.now))
        ):
            self.model.let_go(pin)
        self._happened()

    # What breaks, and is mended.

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.advance(seconds, STEP_S)

    def fuse(self, what: str) -> None:
        """The next commit: the webhook is killed "before" or "after" it, or the disk is "full" or the write "torn"."""
        if self.world.webhook:
            self.world.webhook.boundary.fuse = what

    def line(self, how: str) -> None:
        """The next command is "lost", "unacked" or comes "twice"."""
        if self.world.webhook:
            self.world.webhook.line = how

    def stop(self, what: str) -> None:
        """The webhook, the broker, its disk too, or the link of a device goes away."""
        if what == "webhook":
            self.world.kill()
        elif what in ("broker", "disk"):
            self.world.stop_broker(forgets=what == "disk")
        else:
            self.world.devices[what].wanted_link = False
            self.world.devices[what].hang_up()

    def mend(self, what: str) -> None:
        """What was away comes back."""
        if what == "webhook":
            self.world.start()
        elif what == "broker":
            self.world.broker.up = True
        else:
            self.world.devices[what].wanted_link = True
        self.world.advance(1)

    def power_cut(self, device: str) -> None:
        """A board starts anew."""
        self.world.devices[device].boot()
        for pin in self.plan.pins:
            if pin[0] == device:
                self._off_since_s[pin] = self.world.clock.run_s
        self._disturb()

    def intrude(self, pin: Pin, value: int) -> None:
        """Somebody else writes a command for a pin, retained."""
        if self.world.broker.up and not (value and self.plan.exclusive):  # nobody keeps others from that
            self.world.publish(set_topic(pin), b'{"v":%d,"seq":9,"epoch":"else","ttl":20}' % value)
            self._wanted_at_s[pin] = self.world.clock.run_s  # by the intruder
        self._disturb()

    def rehearse(self, dry_run: bool) -> None:
        """The webhook is started anew, with dry-run or without."""
        self.world.dry_run = dry_run
        self.world.kill()
        self.world.start()
        self.world.advance(1)

    def set_clock(self, step_s: float) -> None:
        """The clock of the webhook's machine is set."""
        self.world.clock.wall_s += step_s
        webhook = self.world.webhook
        if webhook:
            if webhook.boundary.fuse in ("before", "after"):
                webhook.boundary.fuse = None  # killed there, it is a clock that was set while it was away
            self.model.shift(step_s)
        else:
            self._asked_at_s = dict.fromkeys(self.plan.pins, self.world.clock.run_s)
        self._disturb()
        self.world.advance(1)

    def mend_everything(self) -> None:
        """Everything stands again: three reads later the claims are what is really firing, whatever was lost."""
        if self.world.dry_run:
            self.rehearse(False)
        for what in ("webhook", "broker", *self.world.devices):
            self.mend(what)
        assert self.world.webhook is not None
        self.world.webhook.line, self.world.webhook.boundary.fuse = "ok", None
        for _ in range(3):
            self.read()
            self.wait(20)
        firing = self.model.firing(self.now)
        assert firing.keys() >= self.truth.alerts.keys()
        for name in firing.keys() - self.truth.alerts.keys():  # it ended before it was ever in the list
            assert self.model.listed.get(name) != firing[name].began, f"{name} does not fire any more"

    # What must hold.

    def look(self) -> None:
        """Compare everything with the model; after every step of time."""
        world, run_s = self.world, self.world.clock.run_s
        if world.webhook:
            if self._fresh:
                self.model.shift(world.webhook.step_s)
                self._fresh = False
            self.model.tick(self.now)
            self._check_decisions()
        expected = [(self.model.winner(pin, self.now), self._asked(pin)) for pin in self.plan.pins]
        if expected != self._expected or not self._all_stands():
            self._expected = expected
            self._disturb()
        for pin in self.plan.pins:
            self._check_bounds(pin, run_s)
        if run_s - self._calm_since_s > _CALM_S + self._extra_s and not world.dry_run:
            for pin in self.plan.pins:
                self._check_calm(pin)

    def _check_decisions(self) -> None:
        webhook = self.world.webhook
        assert webhook is not None
        commanded_on = set()
        for pin in self.plan.pins:
            claims = webhook.claims.of(pin)
            best = (claims[0].slot, int(claims[0].value or 0)) if claims else None
            assert best == self.model.winner(pin, self.now), f"{pin}: {best} wins"
            command = webhook.commands.of(pin)
            if command and command.value:
                commanded_on.add(pin)
            if not self.plan.exclusive and not self.plan.declared:
                on, run = pin in commanded_on, self.model.runs[pin]
                assert on == run.on, f"{pin}: commanded {on}, the model says {run}"
        assert not self.plan.exclusive or len(commanded_on) < 2

    def _check_bounds(self, pin: Pin, run_s: float) -> None:
        wanted = self.model.wants_on(pin, self.now) or self._asked(pin)
        if wanted and not (self.world.dry_run and self.world.webhook):
            self._wanted_at_s[pin] = run_s
        if self.world.webhook and not self._asked(pin):
            self._asked_at_s[pin] = run_s
        if not self.model.anybody_wants_on(pin, self.now):
            self._nobody_at_s[pin] = run_s
        winner = self.model.winner(pin, self.now)
        if not self._all_stands() or self.world.dry_run or winner != ("safety", 0):
            self._safety_since_s[pin] = run_s
        if not self.world.level[pin]:
            return
        unwanted_s = run_s - self._wanted_at_s[pin]
        assert unwanted_s <= _LATEST_S + self._own[pin].min_on_s, f"{pin}: on for {unwanted_s} s unwanted"
        safe_s = run_s - max(self._safety_since_s[pin], self._calm_since_s)
        assert safe_s <= _CALM_S, f"{pin}: on for {safe_s} s after safety said off"
        most_s = self.plan.limits.get(pin, Limits()).max_on_s
        if most_s:
            lasts_s = run_s - max(self._on_since_s[pin], self._asked_at_s[pin])
            assert lasts_s <= most_s + _GRACE_S + 2 * STEP_S, f"{pin}: on for {lasts_s} s"

    def _check_calm(self, pin: Pin) -> None:
        level, on = self.world.level[pin], self._asked(pin)
        if self.plan.exclusive:
            wants = {one: (self.model.winner(one, self.now) or ("",))[0] for one in self.plan.pins if self._wants(one)}
            if len(set(wants.values())) == 2:
                on = wants[pin] == max(wants.values())  # alert < manual < safety
            elif len(wants) == 2:
                on = not any(self.world.level[one] for one in self.plan.pins if one != pin)
            else:
                on = pin in wants
        own = self._own[pin]
        # A pause that min_on_s has bridged was none.
        if own.max_on_s and self.world.clock.run_s - self._nobody_at_s[pin] >= own.max_on_s - own.min_on_s:
            return  # it has had its run, in one or in several
        assert level == on, f"{pin} is {level}, the model says {on}"

    def _switched(self, pin: Pin, value: float) -> None:
        """Look at the hardware at the moment when it is set."""
        run_s, own = self.world.clock.run_s, self._own[pin]
        if value:
            assert run_s - self._off_since_s[pin] >= own.min_off_s, f"{pin}: on again too early"
            self._on_since_s[pin] = run_s
        else:
            self._off_since_s[pin] = run_s
            assert not own.max_on_s or run_s - self._on_since_s[pin] <= own.max_on_s + STEP_S
        if self.plan.exclusive:
            assert sum(map(bool, self.world.level.values())) < 2, "two exclusive pins are on"

    def _wants(self, pin: Pin) -> bool:
        return self.model.wants_on(pin, self.now)

    def _asked(self, pin: Pin) -> bool:
        """Tell whether the webhook, which is there, asks for on."""
        if self.plan.exclusive or self.plan.declared:
            return self._wants(pin)
        return self.world.webhook is not None and self.model.runs[pin].on

    def _committed(self, act: Callable[[], object]) -> bool:
        """Let the webhook do something; return whether it is in the database then."""
        try:
            act()
        except Crashed as boundary:
            self.world.kill()
            self.world.start()
            return str(boundary) == "after"
        except sqlite3.OperationalError:
            return False  # the disk was full: answered 503
        return True

    def _happened(self) -> None:
        """Something was decided: compare, before and after a second."""
        if self.world.webhook:
            self.model.decide(self.now)
            self._check_decisions()
        self.world.advance(1)

    def _all_stands(self) -> bool:
        webhook, devices = self.world.webhook, self.world.devices.values()
        return bool(webhook and webhook.connected and self.world.broker.up and all(one.linked for one in devices))

    def _started(self) -> None:
        self.model.absent.clear()
        self._fresh = True  # what it does at its start it does with its first tick
        self._disturb()

    def _disturb(self) -> None:
        """Something happened that has to be got over."""
        self._calm_since_s = self.world.clock.run_s


assert CLAIM_TTL_S > _LATEST_S
