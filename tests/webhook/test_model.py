"""Random histories: a model of what pins should be, beside the real webhook and the firmware's pins.

Notifications are lost, repeated, reordered and delayed; the webhook is killed
before and after its commits, or its disk is full; broker, links and boards go
and come back; the clock is set; somebody else writes commands. What must hold
is in `history`, what is wanted in `wanted`, what there is in `plans`.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.webhook.history import History
from tests.webhook.plans import PLANS, Plan
from tests.webhook.world import Clock, simulated

_ANY = st.integers(0, 20)


class Machine(RuleBasedStateMachine):
    """One history, and whatever happens in it."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.history = History(plan, clock, Path(self._folder.name))
        self._names = sorted(plan.asks)
        self._pins = plan.pins
        self._devices = sorted(self.history.world.devices)

    def teardown(self) -> None:
        """End; a history that went well so far has to end well, too."""
        try:
            if sys.exc_info()[0] is None:
                self.history.mend_everything()
        finally:
            self.history.world.kill()
            self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.history.begin()

    @rule(name=_ANY, at_once=st.booleans())
    def fire(self, name: int, at_once: bool) -> None:
        self.history.fire(self._one(self._names, name), at_once=at_once)

    @precondition(lambda self: self.history.truth.alerts)
    @rule(name=_ANY, unknown=st.booleans(), at_once=st.booleans())
    def end(self, name: int, unknown: bool, at_once: bool) -> None:
        self.history.end(self._one(sorted(self.history.truth.alerts), name), unknown=unknown, at_once=at_once)

    @precondition(lambda self: self.history.truth.alerts)
    @rule()
    def repeat(self) -> None:
        self.history.repeat()

    @precondition(lambda self: self.history.mailbox)
    @rule(index=_ANY, keep=st.booleans())
    def deliver(self, index: int, keep: bool) -> None:
        self.history.deliver(index, keep=keep)

    @rule()
    def deliver_together(self) -> None:
        self.history.deliver_together()

    @precondition(lambda self: self.history.mailbox)
    @rule(index=_ANY)
    def lose(self, index: int) -> None:
        self.history.lose(index)

    @rule()
    def read(self) -> None:
        self.history.read()

    @rule(
        pin=_ANY,
        value=st.integers(0, 1),
        for_s=st.sampled_from([5, 60, 600]),
        slot=st.sampled_from(["manual", "manual", "safety"]),
    )
    def ask(self, pin: int, value: int, for_s: int, slot: str) -> None:
        self.history.ask(self._one(self._pins, pin), value, for_s, slot)

    @rule(pin=_ANY)
    def let_go(self, pin: int) -> None:
        self.history.let_go(self._one(self._pins, pin))

    @rule(seconds=st.sampled_from([1, 7, 20, 20, 45, 160]))
    def wait(self, seconds: int) -> None:
        self.history.wait(seconds)

    @rule(what=st.sampled_from(["before", "after", "full", "torn"]))
    def fuse(self, what: str) -> None:
        self.history.fuse(what)

    @rule(how=st.sampled_from(["lost", "unacked", "twice"]), bridge=st.booleans())
    def line(self, how: str, bridge: bool) -> None:
        self.history.line(how, bridge=bridge)

    @rule(what=st.sampled_from(["webhook", "session", "bridge", "broker", "disk", "device"]), index=_ANY)
    def stop(self, what: str, index: int) -> None:
        self.history.stop(self._one(self._devices, index) if what == "device" else what)

    @rule(what=st.sampled_from(["webhook", "session", "bridge", "broker", "device"]), index=_ANY)
    def mend(self, what: str, index: int) -> None:
        self.history.mend(self._one(self._devices, index) if what == "device" else what)

    @rule(index=_ANY)
    def power_cut(self, index: int) -> None:
        self.history.power_cut(self._one(self._devices, index))

    @precondition(lambda self: self.history.plan.foreign)
    @rule(index=_ANY, on=st.booleans())
    def press(self, index: int, on: bool) -> None:
        self.history.press(self._one(self._devices, index), on)

    @rule(pin=_ANY, value=st.integers(0, 1))
    def intrude(self, pin: int, value: int) -> None:
        self.history.intrude(self._one(self._pins, pin), value)

    @rule(dry_run=st.booleans())
    def rehearse(self, dry_run: bool) -> None:
        self.history.rehearse(dry_run)

    @rule(step_s=st.sampled_from([-86400, -3600, -50, 50, 3600]))
    def set_clock(self, step_s: int) -> None:
        self.history.set_clock(step_s)

    @rule()
    def mend_everything(self) -> None:
        self.history.mend_everything()

    def _one(self, of: list[Any], index: int) -> Any:
        return of[index % len(of)]


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_pins_are_what_the_model_says_through_everything_that_breaks(plan: Plan) -> None:
    """A few histories, in a second; with other firmware fewer: there are many."""
    _run(plan, max_examples=4 if plan.foreign else 10, stateful_step_count=25)


@pytest.mark.long
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_pins_are_what_the_model_says_through_many_histories(plan: Plan) -> None:
    """More and longer ones."""
    _run(plan, max_examples=60, stateful_step_count=50)


def _run(plan: Plan, **sizes: Any) -> None:
    """Look at some histories; what fails is told as it happened: making it shorter takes minutes.

    The same ones each time, so that nobody is stopped by what somebody else did; `PINLOOP_EXAMPLES=random` looks
    for others.
    """
    with simulated() as clock:

        def machine() -> Machine:
            clock.reset()
            return Machine(plan, clock)

        told = os.environ.get("PINLOOP_EXAMPLES") != "random"
        how = settings(
            deadline=None,
            suppress_health_check=_QUIET,
            phases=[Phase.generate],
            derandomize=told,
            database=None,
            **sizes,
        )
        run_state_machine_as_test(machine, settings=how)
