"""Two pins that are never both on."""

from collections.abc import Callable

import pytest

from tests.webhook.desk import notice
from tests.webhook.guarded import EXCLUSIVE, Guarded
from webhook.arbiter import PERSON, Claim
from webhook.guards import Limits

MAIN, BACK = ("pump", "main"), ("pump", "back")
LEASE_S = 300


def test_of_two_exclusive_pins_the_later_waits_until_the_other_is_reported_off(
    guarded: Callable[..., Guarded],
) -> None:
    """Not until its command says off: a relay that sticks keeps the other one off."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    assert pump.fire("b", BACK) == []
    assert (pump.held(BACK), pump.held(MAIN)) == (("exclusive_with", None), None)
    pump.end("a", MAIN)
    written = pump.database.connection.total_changes
    assert (pump.value(MAIN), pump.later(5)) == (None, [])
    assert pump.database.connection.total_changes == written  # looking five times a second costs the disk nothing
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("back", 1)]


def test_an_exclusive_pin_whose_device_is_away_counts_as_off_when_its_lease_has_ended(
    guarded: Callable[..., Guarded],
) -> None:
    """Nobody waits for ever for a device that is gone."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.observed.status["pump"] = "offline"
    pump.end("a", MAIN)
    pump.fire("b", BACK)
    pump.now_s += LEASE_S - 1
    pump.fire("b", BACK)
    assert pump.value(BACK) is None
    assert [(one.pin, one.value) for one in pump.later(1)] == [("back", 1)]


def test_an_exclusive_pin_that_holds_its_value_without_a_lease_is_never_thought_off(
    guarded: Callable[..., Guarded],
) -> None:
    """Declared `hold`: its device is away, and leaves it on for ever."""
    pump = guarded(**EXCLUSIVE)
    pump.observed.pins["pump"]["main"]["hold"] = True
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.observed.status["pump"] = "offline"
    pump.end("a", MAIN)
    pump.fire("b", BACK)
    pump.now_s += 10 * LEASE_S
    pump.fire("b", BACK)
    assert pump.held(BACK) == ("exclusive_with", None)


def test_a_stronger_slot_ends_an_exclusive_pin_and_takes_its_turn(guarded: Callable[..., Guarded]) -> None:
    """First the one goes off, then, when that is reported, the other on; and back when it is over."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.report(BACK, 0)
    ana = Claim(*BACK, PERSON, 1, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert [(one.pin, one.value) for one in pump.claims.hold(ana, pump.now_s)] == [("main", 0)]
    assert (pump.held(MAIN), pump.held(BACK)) == (("exclusive_with", None), ("exclusive_with", None))
    pump.now_s += 1
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("back", 1)]
    pump.report(BACK, 1)
    assert [(one.pin, one.value) for one in pump.claims.let_go(BACK, pump.now_s)] == [("back", None)]
    pump.now_s += 1
    pump.report(BACK, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("main", 1)]


def test_a_stronger_wish_that_its_own_guards_hold_back_stops_nobody(guarded: Callable[..., Guarded]) -> None:
    """Its turn comes when it could run."""
    pump = guarded(EXCLUSIVE["main"], Limits(min_off_s=60, exclusive_with=frozenset({MAIN})))
    pump.fire("b", BACK)
    pump.report(BACK, 1)
    pump.end("b", BACK)
    pump.now_s += 1
    pump.report(BACK, 0)
    assert [one.value for one in pump.fire("a", MAIN)] == [1]
    ana = Claim(*BACK, PERSON, 1, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert pump.claims.hold(ana, pump.now_s) == []
    assert pump.value(MAIN) == 1
    pump.report(MAIN, 1)
    assert [(one.pin, one.value) for one in pump.later(60)] == [("main", 0)]


def test_a_stronger_wish_for_off_stops_nobody_else(guarded: Callable[..., Guarded]) -> None:
    """Slot safety keeps one of the pumps off: the other is the one that is left."""
    pump = guarded(**EXCLUSIVE)
    pump.fire("leak", BACK, value=0, slot="safety")
    pump.report(BACK, 0)
    pump.now_s += 1
    assert [(one.pin, one.value) for one in pump.fire("a", MAIN)] == [("main", 1)]
    pump.fire("leak again", BACK, value=0, slot="safety")
    assert (pump.value(MAIN), pump.held(MAIN)) == (1, None)


def test_two_alerts_that_want_both_switch_one(guarded: Callable[..., Guarded]) -> None:
    """In one body or two: never both, and always one."""
    pump = guarded(**EXCLUSIVE)
    said = [notice(fingerprint=pin[1], actuate=f"{'/'.join(pin)}=1") for pin in (BACK, MAIN)]
    commands = pump.claims.notify(said, pump.now_s)[1]
    assert [(one.pin, one.value) for one in commands] == [("back", 1)]
    assert pump.held(MAIN) == ("exclusive_with", None)


def test_an_exclusive_pin_waits_until_the_broker_has_been_heard(guarded: Callable[..., Guarded]) -> None:
    """The other may be on: a hand at its button, or a database that was lost. Both must not be on even for a moment."""
    pump = guarded(EXCLUSIVE["main"], EXCLUSIVE["back"])
    pump.heard = False
    pump.fire("a")
    assert (pump.value(), pump.held()) == (None, ("exclusive_with", None))
    pump.report(BACK, 1)
    pump.heard = True
    assert pump.later(1) == []
    pump.report(BACK, 0)
    assert [one.value for one in pump.later(1)] == [1]


@pytest.mark.parametrize("stronger", [MAIN, BACK])
def test_pins_that_become_exclusive_while_both_are_on_are_separated(
    guarded: Callable[..., Guarded], stronger: tuple[str, str]
) -> None:
    """A changed pins file counts for what runs, too; the stronger wish stays."""
    pump = guarded(Limits())
    for pin in (MAIN, BACK):
        pump.fire(pin[1], pin, slot="alert" if pin == stronger else "timer")
    pump.limits.update({MAIN: EXCLUSIVE["main"], BACK: EXCLUSIVE["back"]})
    pump.restart()
    pump.claims.adopt(pump.now_s)
    assert {pin: pump.value(pin) for pin in (MAIN, BACK)} == {pin: pin == stronger for pin in (MAIN, BACK)}
