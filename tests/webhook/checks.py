"""What must hold in a history, whatever breaks.

* decided right: what the database commands is what the model says, after every event and every tick, to the second;
* never too long: a pin is on only while somebody wants it, and for one lease after that, whatever is broken; never
  beyond `max_on_s`; of two exclusive pins never both. A device of other firmware has no lease: there it holds while
  webhook, broker and device can talk, and without that only with a dead man's switch;
* never by mistake: a pin that is told to be at rest is not switched on while nobody wants it, and none when nobody
  has wanted it for a lease;
* right again: once everything stands, the pin is what the model says within seconds, and after three reads of the
  active alerts the claims are what is really firing, but for alerts that were never in the list.

What cannot be foretold, and is narrowed instead: which of two exclusive pins of equal rank goes first, and when the
other is known to be off (in a lease and some seconds at the latest); when within `min_on_s` a command ends whose pin
is told to be off; whether a board whose own `max_on_s` has ended a run that the webhook took for two is still off;
whether what somebody switched at a device while something was being got over counts as theirs; nor, at firmware that
says nothing when it is told what it is already, whether the next such hand does within two minutes of the end of a
claim within which the webhook was started, or of a command of somebody else.
"""

from tests.webhook.plans import Plan
from tests.webhook.wanted import Wanted
from tests.webhook.world import RECONCILE_S, TTL_S, World
from webhook.commands import Pin
from webhook.guards import Limits

__all__ = ["LATEST_S", "STEP_S", "Checks"]

STEP_S = 2.0
# From here on everything has had its turn: a survey, a correction, the broker's retained messages.
_CALM_S = 2 * RECONCILE_S + 5
# A lease outlives its claim, or its guard, by 5 s.
_GRACE_S = 5
LATEST_S = TTL_S + _GRACE_S + 2 * STEP_S
# So long after a claim a twin takes what its device reports for the aftermath, not for a hand at the button.
_AFTERMATH_S = 30
# So long after the end it waits for a report of the safe value, before it believes that the device was there already.
_BELIEVED_S = 120
_AT_REST = ("released", "boot", "expired", "link-lost")


class Checks:
    """Compares a world with the model of what is wanted."""

    def __init__(self, plan: Plan, model: Wanted, world: World) -> None:
        self._plan = plan
        self._model = model
        self._world = world
        run_s = world.clock.run_s
        self._wanted_at_s = dict.fromkeys(plan.pins, 0.0)
        self._claimed_at_s = dict.fromkeys(plan.pins, 0.0)
        self._asked_at_s = dict.fromkeys(plan.pins, 0.0)
        self._on_since_s = dict.fromkeys(plan.pins, 0.0)
        self._off_since_s = dict.fromkeys(plan.pins, run_s)
        self._safety_since_s = dict.fromkeys(plan.pins, run_s)
        self._next_since_s = dict.fromkeys(plan.pins, run_s)
        self._fresh = True
        self._calm_since_s = run_s
        self._expected: object = None
        # A device that guards itself counts from its own switching, which may be later than the command's.
        self._own = {pin: Limits(**plan.declared.get(pin, {})) for pin in plan.pins}
        self._doubted: dict[Pin, float] = {}  # switched on -> since when somebody must have wanted that
        self._tripped: set[Pin] = set()
        self._by_hand: dict[Pin, bool] = {}  # switched on at the device -> whether a command has overruled that since
        self._left_alone: set[Pin] = set()  # of those, the ones that nobody was to switch at that moment
        self._overruled: set[Pin] = set()  # of those, the ones that were switched off
        self._unsure: set[Pin] = set()  # claimed at a start, or by somebody else, and not reported off since
        self._intruded: dict[Pin, set[str]] = {}  # switched on through our topics -> who does not know of it any more
        self._settled_s = _CALM_S + max(
            own.min_on_s + own.min_off_s + plan.late_s(pin) for pin, own in self._own.items()
        )

    # What the history tells.

    def restarted(self) -> None:
        """The webhook was started; what it does at its start it does with its first tick."""
        self._fresh = True
        self._next_since_s = dict.fromkeys(self._plan.pins, self._world.clock.run_s)
        self._forgot("webhook")
        webhook = self._world.webhook
        self._unsure |= {pin for pin in self._plan.foreign_pins if webhook and webhook.claims.of(pin)}
        self.disturbed()

    def wiped(self) -> None:
        """The broker lost what it retained."""
        self._forgot("broker")

    def disturbed(self) -> None:
        """Something happened that has to be got over."""
        self._calm_since_s = self._world.clock.run_s
        self._left_alone.clear()

    def power_cut(self, device: str) -> None:
        """A device was without power."""
        for pin in self._plan.pins:
            if pin[0] == device:
                self._off_since_s[pin] = self._world.clock.run_s
                self._tripped.discard(pin)
        self.disturbed()

    def clock_set(self) -> None:
        """The clock of the webhook's machine was set."""
        if not self._world.webhook:
            self._asked_at_s = dict.fromkeys(self._plan.pins, self._world.clock.run_s)
        self._next_since_s = dict.fromkeys(self._plan.pins, self._world.clock.run_s)
        self.disturbed()

    def intruded(self, pin: Pin, on: bool) -> None:
        """Somebody else has commanded the pin."""
        if pin in self._plan.foreign_pins:
            self._unsure.add(pin)
            if on:
                self._intruded[pin] = set()
        self._wanted_at_s[pin] = self._claimed_at_s[pin] = self._world.clock.run_s
        self.disturbed()

    def pressed(self, pin: Pin, on: bool) -> None:
        """Somebody is about to switch the pin at its device."""
        if on:
            self._by_hand[pin] = False
        late_s = _BELIEVED_S if pin in self._unsure else _AFTERMATH_S
        if self._model.winner(pin, self._world.clock.wall_s) or self._asked(pin):
            self.disturbed()
        elif on and self._is_calm(late_s) and not self._plan.dead_man(pin):
            self._left_alone.add(pin)
        if not on:
            self._by_hand.pop(pin, None)
            self._left_alone.discard(pin)

    # What is compared.

    def look(self) -> None:
        """Compare everything; after every step of time."""
        world, now = self._world, self._world.clock.wall_s
        if world.webhook:
            if self._fresh:
                self._model.shift(world.webhook.step_s)
                self._fresh = False
            self._model.tick(now)
            self.decided()
        expected = [(self._model.winner(pin, now), self._asked(pin)) for pin in self._plan.pins]
        if expected != self._expected or not self._all_stands():
            self._expected = expected
            self.disturbed()
        for pin in self._plan.pins:
            self._follow(pin)
            wants = self._model.winner(pin, now)
            assert wants or pin not in self._overruled, f"{pin}: it was left to who switched it on"
            self._overruled.discard(pin)
            rested_s = self._doubted.pop(pin, 0.0)
            assert rested_s <= self._claimed_at_s[pin], f"{pin}: switched on, and nobody wants it"
            if world.level[pin]:
                self._check_bounds(pin)
            if self._is_calm() and not world.dry_run:
                self._check_calm(pin)
            self._check_turn(pin)

    def decided(self) -> None:
        """Compare what is commanded."""
        webhook, now = self._world.webhook, self._world.clock.wall_s
        assert webhook is not None
        commanded_on = 0
        for pin in self._plan.pins:
            if self._model.wants_on(pin, now):
                self._claimed_at_s[pin] = self._world.clock.run_s
            claims = webhook.claims.of(pin)
            best = (claims[0].slot, int(claims[0].value or 0)) if claims else None
            assert best == self._model.winner(pin, now), f"{pin}: {best} wins"
            command, run = webhook.commands.of(pin), self._model.runs[pin]
            on = bool(command and command.value)
            if command and command.dry_run and not self._world.dry_run and self._plan.exclusive:
                on = False  # not taken back yet: the disk is full
            commanded_on += on
            if on != run.on and (run.next if on else self._is_known_off(pin)):
                self._model.switch(pin, on, now)
            assert on == run.on, f"{pin}: commanded {on}, the model says {run}"
        assert not self._plan.exclusive or commanded_on < 2

    def switched(self, pin: Pin, value: float) -> None:
        """Look at the hardware at the moment when it is set."""
        run_s, own = self._world.clock.run_s, self._own[pin]
        if value:
            assert run_s - self._off_since_s[pin] >= own.min_off_s, f"{pin}: on again too early"
            self._on_since_s[pin] = run_s
            self._doubt(pin)
        else:
            if pin in self._left_alone:
                self._overruled.add(pin)
            self._off_since_s[pin] = run_s
            self._unsure.discard(pin)
            lasted_s = run_s - self._on_since_s[pin]
            assert not own.max_on_s or lasted_s <= own.max_on_s + STEP_S
            if own.max_on_s and lasted_s >= own.max_on_s:
                self._tripped.add(pin)
        if self._plan.exclusive:
            assert sum(map(bool, self._world.level.values())) < 2, "two exclusive pins are on"

    def _forgot(self, who: str) -> None:
        """Note that a command of somebody else, to other firmware, is as a hand at the button once nobody knows it."""
        for pin, unaware in self._intruded.items():
            unaware.add(who)
            if len(unaware) == 2:
                self._by_hand.setdefault(pin, False)

    def _follow(self, pin: Pin) -> None:
        """Note since when what is as it is."""
        run_s, world, model, now = self._world.clock.run_s, self._world, self._model, self._world.clock.wall_s
        if (model.wants_on(pin, now) or self._asked(pin)) and not (world.dry_run and world.webhook):
            self._wanted_at_s[pin] = run_s
        if pin in self._plan.foreign_pins and not self._plan.dead_man(pin) and not self._all_stands():
            self._wanted_at_s[pin] = run_s  # nobody can tell it to end
        if world.webhook and not self._asked(pin):
            self._asked_at_s[pin] = run_s
        if not self._all_stands() or world.dry_run or model.winner(pin, now) != ("safety", 0):
            self._safety_since_s[pin] = run_s
        if self._is_calm() and not model.runs[pin].on:
            self._tripped.discard(pin)
        if self._is_calm() and not world.level[pin]:
            self._intruded.pop(pin, None)
        command = world.webhook.commands.of(pin) if world.webhook else None
        rehearsed = command is not None and command.dry_run  # until it is sent, in the moment after a rehearsal
        commanded = self._asked(pin) and not world.dry_run and not rehearsed
        if not world.level[pin] or (commanded and run_s - self._calm_since_s > TTL_S):
            self._by_hand.pop(pin, None)
        if pin in self._by_hand:
            self._by_hand[pin] |= commanded
            self._wanted_at_s[pin] = run_s
        if not (world.webhook and world.webhook.connected and model.runs[pin].next):
            self._next_since_s[pin] = run_s

    def _check_bounds(self, pin: Pin) -> None:
        run_s = self._world.clock.run_s
        unwanted_s = run_s - self._wanted_at_s[pin]
        assert unwanted_s <= LATEST_S + self._own[pin].min_on_s, f"{pin}: on for {unwanted_s} s unwanted"
        safe_s = run_s - max(self._safety_since_s[pin], self._calm_since_s)
        assert safe_s <= _CALM_S + self._plan.late_s(pin), f"{pin}: on for {safe_s} s after safety said off"
        most_s = self._plan.guards.get(pin, Limits()).max_on_s
        if most_s and pin not in self._plan.declared and pin not in self._by_hand:
            lasts_s = run_s - max(self._on_since_s[pin], self._asked_at_s[pin])
            if pin in self._plan.foreign_pins:
                lasts_s = min(lasts_s, run_s - self._calm_since_s)
            assert lasts_s <= most_s + _GRACE_S + 2 * STEP_S, f"{pin}: on for {lasts_s} s"

    def _check_turn(self, pin: Pin) -> None:
        """A pin whose turn it is waits for no more than the lease of the other."""
        waits_s = self._world.clock.run_s - self._next_since_s[pin]
        assert waits_s <= TTL_S + _CALM_S, f"{pin} waits for {waits_s} s for the other"

    def _check_calm(self, pin: Pin) -> None:
        level, run = self._world.level[pin], self._model.runs[pin]
        assert not run.next, f"{pin} is off and waits for nobody"
        if (pin in self._tripped and run.on) or (not run.on and self._by_hand.get(pin) is False):
            return
        assert level == run.on, f"{pin} is {level}, the model says {run}"

    def _doubt(self, pin: Pin) -> None:
        """Note since when at least somebody must have wanted a pin that is switched on."""
        webhook, run_s = self._world.webhook, self._world.clock.run_s
        if not webhook or pin in self._by_hand:
            return
        told = webhook.told.get(pin) if webhook.connected else None
        if told and not told.state.value and told.state.why in _AT_REST:
            self._doubted[pin] = told.run_s
        elif not self._plan.retained(pin):
            self._doubted[pin] = run_s - LATEST_S

    def _is_known_off(self, pin: Pin) -> bool:
        """Tell whether the webhook was told that the pin is off since its command says on."""
        webhook, since = self._world.webhook, self._model.runs[pin].since
        told_s = webhook.told_off_s.get(pin) if webhook else None
        lasts_s = self._world.clock.wall_s - (since or 0)
        return told_s is not None and self._world.clock.run_s - told_s < lasts_s

    def _asked(self, pin: Pin) -> bool:
        """Tell whether the webhook, which is there, asks for on."""
        return self._world.webhook is not None and self._model.runs[pin].on

    def _is_calm(self, longer_s: float = 0) -> bool:
        return self._world.clock.run_s - self._calm_since_s > self._settled_s + longer_s

    def _all_stands(self) -> bool:
        webhook, devices = self._world.webhook, self._world.devices.values()
        return bool(webhook and webhook.connected and self._world.broker.up and all(one.linked for one in devices))
