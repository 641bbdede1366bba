"""One world with a plan, and what may happen to it; what must hold meanwhile is in `checks`."""

import json
import sqlite3
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tests.webhook.checks import LATEST_S, STEP_S, Checks
from tests.webhook.grafana import Alerting
from tests.webhook.plans import Plan
from tests.webhook.wanted import Person, Wanted
from tests.webhook.world import CLAIM_TTL_S, Clock, Crashed, World, set_topic
from tests.webhook.world_foreign import Mute, Relay
from tests.webhook.world_webhook import Link
from webhook.active import active_alerts
from webhook.arbiter import PERSON, Claim
from webhook.commands import Pin
from webhook.dialects import decode

__all__ = ["STEP_S", "History"]

# The connections of the webhook: its own, and that of its bridge to other firmware.
_LINKS = ("session", "bridge")


class History:
    """What happened so far; each method lets one more thing happen."""

    def __init__(self, plan: Plan, clock: Clock, folder: Path) -> None:
        self.plan = plan
        self.model = Wanted(plan.asks, plan.guards)
        self.truth = Alerting()
        self.mailbox: list[bytes] = []
        self.world = World(
            clock,
            folder,
            plan.devices(),
            plan.limits,
            self._started,
            lambda pin, value: self.checks.switched(pin, value),
            lambda: self.checks.look(),
            plan.foreign,
        )
        self.checks = Checks(plan, self.model, self.world)
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
            listed = active_alerts(self.truth.listed(), "grafana http://grafana:3000")
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

    def line(self, how: str, *, bridge: bool = False) -> None:
        """The next message of the webhook, or of its bridge, is "lost", "unacked" or comes "twice"."""
        if self.world.webhook:
            self.world.webhook.links[-1 if bridge else 0].line = how

    def stop(self, what: str) -> None:
        """The webhook, one of its connections, the broker, its disk too, or the link of a device goes away."""
        if what == "webhook":
            self.world.kill()
        elif what in _LINKS:
            for link in self._links(what):
                link.wanted = False
                link.hang_up()
        elif what in ("broker", "disk"):
            self.world.stop_broker(forgets=what == "disk")
            if what == "disk":
                self.checks.wiped()
        else:
            self.world.devices[what].wanted_link = False
            self.world.devices[what].hang_up()

    def mend(self, what: str) -> None:
        """What was away comes back."""
        if what == "webhook":
            self.world.start()
        elif what in _LINKS:
            for link in self._links(what):
                link.wanted = True
        elif what == "broker":
            self.world.broker.up = True
        else:
            self.world.devices[what].wanted_link = True
        self.world.advance(1)

    def _links(self, what: str) -> list[Link]:
        links = self.world.webhook.links if self.world.webhook else []
        return [link for name, link in zip(_LINKS, links, strict=False) if name == what]

    def power_cut(self, device: str) -> None:
        """A device starts anew."""
        self.checks.power_cut(device)
        self.world.devices[device].boot()

    def press(self, device: str, on: bool) -> None:
        """Somebody is at the button of a device of other firmware."""
        relay = self.world.devices[device]
        if isinstance(relay, Relay) and not isinstance(relay, Mute) and relay.on != on:
            self.checks.pressed(relay.pin, on)
            relay.press(on)
            self.world.advance(1)

    def intrude(self, pin: Pin, value: int) -> None:
        """Somebody else writes a command for a pin, retained."""
        if self.world.broker.up and not (value and self.plan.exclusive):  # nobody keeps others from that
            self.checks.intruded(pin, bool(value))
            self.world.publish(set_topic(pin), b'{"v":%d,"seq":9,"epoch":"else","ttl":20}' % value)

    def rehearse(self, dry_run: bool) -> None:
        """The webhook is started anew, with dry-run or without."""
        if self.world.dry_run and not dry_run:
            self.model.end_rehearsal()
        self.world.dry_run = dry_run
        self.world.kill()
        self.world.start()
        self.world.advance(1)

    def set_clock(self, step_s: float) -> None:
        """The clock of the webhook's machine is set."""
        webhook = self.world.webhook
        if webhook:
            for link in webhook.links:  # what comes between the step and the webhook's noticing it moves with it
                link.tick()
        self.world.clock.wall_s += step_s
        if webhook:
            if webhook.boundary.fuse in ("before", "after"):
                webhook.boundary.fuse = None  # killed there, it is a clock that was set while it was away
            self.model.shift(step_s)
        self.checks.clock_set()
        self.world.advance(1)

    def mend_everything(self) -> None:
        """Everything stands again: three reads later the claims are what is really firing, whatever was lost."""
        if self.world.dry_run:
            self.rehearse(False)
        for what in ("webhook", "broker", *_LINKS, *self.world.devices):
            self.mend(what)
        assert self.world.webhook is not None
        self.world.webhook.boundary.fuse = None
        for link in self.world.webhook.links:
            link.line = "ok"
        for _ in range(3):
            self.read()
            self.wait(20)
        firing = self.model.firing(self.now)
        assert firing.keys() >= self.truth.alerts.keys()
        for name in firing.keys() - self.truth.alerts.keys():  # it ended before it was ever in the list
            assert self.model.listed.get(name) != firing[name].began, f"{name} does not fire any more"

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
            self.checks.decided()
        self.world.advance(1)

    def _started(self) -> None:
        self.model.absent.clear()
        self.checks.restarted()


assert CLAIM_TTL_S > LATEST_S
