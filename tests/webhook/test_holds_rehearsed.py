"""Exclusive pins of which one was in dry-run, or is now: what was only rehearsed keeps no pump from running dry."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.webhook.guarded import BACK, EXCLUSIVE, LEASE_S, MAIN, Guarded
from webhook.claims import Claims
from webhook.commands import Commands, Pin, PinCommand
from webhook.holds import Holds

Pairs = pytest.mark.parametrize(("one", "other"), [(MAIN, BACK), (BACK, MAIN)])


class Rehearsing(Guarded):
    """One whose pins may be in dry-run."""

    def open(self) -> "Rehearsing":
        super().open()
        self.rehearsed: set[Pin] = set()
        self.commands = Commands(self.database, LEASE_S, dry_run=self.rehearsed.__contains__)
        self.holds = Holds(
            self.database, self.commands, self.observed, self.limits, LEASE_S, dry_run=self.rehearsed.__contains__
        )
        self.claims = Claims(self.database, self.commands, self.observed.safe, {}, 300, holds=self.holds)
        return self

    def changed(self, pin: Pin) -> list[PinCommand]:
        """Take over that pins.yml says something else of a pin."""
        return self.claims.configure(self.limits, {}, [pin], self.now_s)


@pytest.fixture
def pumps(guarded: Callable[..., Guarded]) -> Rehearsing:
    """Two pins that are never on together, each for 600 s at least; both have said that they are off."""
    made = guarded(replace(EXCLUSIVE["main"], min_on_s=600), replace(EXCLUSIVE["back"], min_on_s=600))
    made.database.close()
    pumps = Rehearsing(made.path, made.limits).open()
    for pin in (MAIN, BACK):
        pumps.report(pin, 0)
    pumps.now_s += 1
    return pumps


@Pairs
@pytest.mark.parametrize("restarted", [False, True])
def test_a_pin_that_is_rehearsed_no_more_waits_for_one_that_is_on(
    pumps: Rehearsing, one: Pin, other: Pin, restarted: bool
) -> None:
    """Its run was none: it takes its turn once the other has said that it is off."""
    pumps.rehearsed.add(one)
    pumps.fire("a", one)
    pumps.fire("b", other)
    assert (pumps.value(one), pumps.value(other)) == (1, 1)
    pumps.report(other, 1)
    pumps.now_s += 10
    pumps.rehearsed.clear()
    sent = pumps.claims.adopt(pumps.now_s) if restarted else pumps.changed(one)
    assert {(command.pin, command.value) for command in sent} == {(one[1], None)}
    assert pumps.held(one) == ("exclusive_with", None)
    pumps.now_s += 600
    pumps.end("b", other)
    pumps.later(1)
    assert (pumps.value(one), pumps.value(other)) == (None, None)
    pumps.report(other, 0)
    assert [(command.pin, command.value) for command in pumps.later(1)] == [(one[1], 1)]


@Pairs
@pytest.mark.parametrize("settled", [False, True])
def test_a_pin_waits_for_one_that_was_on_when_its_dry_run_began(
    pumps: Rehearsing, one: Pin, other: Pin, settled: bool
) -> None:
    """Its device is away and does not hear that it is taken back: it may be on until its lease ends."""
    pumps.fire("a", one)
    pumps.report(one, 1)
    pumps.observed.status["pump"] = "offline"
    pumps.rehearsed.add(one)
    if settled:
        pumps.changed(one)
    pumps.now_s += 10
    pumps.fire("b", other)
    assert pumps.held(other) == ("exclusive_with", None)
    if not settled:
        pumps.changed(one)
    pumps.later(LEASE_S - 20)
    assert pumps.held(other)
    pumps.later(20)
    assert (pumps.value(other), pumps.held(other)) == (1, None)


def test_of_two_pins_that_are_both_rehearsed_one_waits(pumps: Rehearsing) -> None:
    """A rehearsal shows what would be."""
    pumps.rehearsed.update({MAIN, BACK})
    pumps.fire("a", MAIN)
    pumps.fire("b", BACK)
    assert (pumps.value(MAIN), pumps.held(BACK)) == (1, ("exclusive_with", None))
