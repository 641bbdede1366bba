"""Exclusive pins when one of them is wanted by slot `safety`: the other goes off at once, whatever keeps it on."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.commands import decode_command
from tests.webhook.guarded import EXCLUSIVE, Guarded
from webhook.arbiter import PERSON, Claim
from webhook.commands import PinCommand
from webhook.guards import Limits
from webhook.publisher import payload_of

MAIN, BACK, THIRD = ("pump", "main"), ("pump", "back"), ("pump", "third")
Make = Callable[..., Guarded]


def forced(commands: list[PinCommand], pin: tuple[str, str]) -> list[tuple[float, bool]]:
    """Return (value, force) of what is sent to a pin."""
    mine = [decode_command(payload_of(one, "e")) for one in commands if (one.device, one.pin) == pin]
    return [(one.value, one.force) for one in mine if one]


@pytest.fixture
def pump(guarded: Make) -> Guarded:
    """Two exclusive pins, of which main stays on for 600 s once it is, as its device sees to as well."""
    return guarded(replace(EXCLUSIVE["main"], min_on_s=600), EXCLUSIVE["back"])


def running(pump: Guarded) -> None:
    """Let main be on for 10 s because an alert wants it."""
    pump.fire("a", MAIN)
    pump.report(MAIN, 1)
    pump.report(BACK, 0)
    pump.now_s += 10


def test_a_wanted_pin_gives_way_by_force(pump: Guarded) -> None:
    """Its device keeps `min_on_s`, too, and only slot `safety` passes that."""
    running(pump)
    assert forced(pump.fire("flood", BACK, slot="safety"), MAIN) == [(0, True)]
    command = pump.commands.of(MAIN)
    assert command is not None
    assert (command.slot, command.source) == ("safety", "flood")
    pump.now_s += 1
    pump.report(MAIN, 0)
    assert forced(pump.later(0.2), BACK) == [(1, True)]
    assert pump.value(MAIN) == 0  # its own alert waits


def test_a_pin_that_nobody_wants_does_not_wait_for_its_minimum(pump: Guarded) -> None:
    """The machine's pause is worth less than the emergency; a release cannot be forced, a command can."""
    running(pump)
    assert pump.end("a", MAIN) == []
    assert pump.held(MAIN) == ("min_on_s", 590)
    assert forced(pump.fire("flood", BACK, slot="safety"), MAIN) == [(0, True)]
    assert pump.held(MAIN) is None
    log = pump.commands.changes(MAIN, 1)[0]
    assert log["reason"].endswith("gives way to pump/back")
    pump.now_s += 1
    pump.report(MAIN, 0)
    later = pump.later(0.2)
    assert forced(later, BACK) == [(1, True)]
    assert [(one.pin, one.value) for one in later] == [("back", 1), ("main", None)]  # and is released then
    assert pump.later(0.2) == []


def test_an_end_of_the_alert_in_the_emergency_forces_as_well(pump: Guarded) -> None:
    """The other order: first the emergency, then nobody wants it."""
    running(pump)
    pump.fire("flood", BACK, slot="safety")
    pump.end("a", MAIN)
    assert (pump.value(MAIN), pump.held(MAIN)) == (0, None)
    command = pump.commands.of(MAIN)
    assert command is not None
    assert decode_command(payload_of(command, "e")).force  # type: ignore[union-attr]


def test_a_pin_that_somebody_switched_on_by_hand_gives_way(pump: Guarded) -> None:
    """Nobody claims it, so nobody would switch it off, and the emergency would wait for ever."""
    pump.report(MAIN, 1)
    assert pump.fire("heat", BACK) == []  # an alert does wait: without a claim a pin belongs to who is at its button
    assert forced(pump.fire("flood", BACK, slot="safety"), MAIN) == [(0, True)]
    pump.now_s += 1
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.later(0.2)] == [("back", 1), ("main", None)]
    for seconds in (1, 2, 3):  # and that is all, whenever the emergency is repeated
        pump.now_s += seconds
        assert pump.fire("flood again", BACK, slot="safety") == []
        assert pump.later(1) == []


def test_a_pin_that_has_not_reported_yet_gives_way_by_force(pump: Guarded) -> None:
    """Its command went out a moment ago: the device may be on, and keep to its minimum."""
    pump.fire("a", MAIN)
    assert forced(pump.fire("flood", BACK, slot="safety"), MAIN) == [(0, True)]


def test_of_two_emergencies_the_one_that_runs_goes_on(pump: Guarded) -> None:
    """Neither is worth more than the other: both pumps would be switched off in turn for ever."""
    pump.fire("fire", MAIN, slot="safety")
    pump.report(MAIN, 1)
    pump.report(BACK, 0)
    pump.now_s += 1
    assert pump.fire("flood", BACK, slot="safety") == []
    assert (pump.value(MAIN), pump.held(BACK)) == (1, ("exclusive_with", None))


def test_an_emergency_that_may_start_sooner_than_others_ends_the_other_now(guarded: Make) -> None:
    """Slot `safety` does not wait for `min_off_s`, so neither does the one that is in its way."""
    pump = guarded(
        replace(EXCLUSIVE["main"], min_on_s=600), Limits(min_off_s=60, exclusive_with=EXCLUSIVE["back"].exclusive_with)
    )
    pump.fire("b", BACK)
    pump.end("b", BACK)
    pump.now_s += 1
    running(pump)
    assert forced(pump.fire("flood", BACK, slot="safety"), MAIN) == [(0, True)]


def test_a_pin_that_is_known_to_be_off_is_left_alone(pump: Guarded) -> None:
    """There is nothing to force."""
    pump.report(MAIN, 0)
    assert [(one.pin, one.value) for one in pump.fire("flood", BACK, slot="safety")] == [("back", 1)]


def test_before_the_broker_was_heard_nothing_is_forced(pump: Guarded) -> None:
    """What may be on is not known yet; a moment later it is."""
    pump.heard = False
    assert pump.fire("flood", BACK, slot="safety") == []
    pump.heard = True
    pump.report(MAIN, 1)
    assert forced(pump.later(1), MAIN) == [(0, True)]


def test_an_emergency_is_not_hidden_behind_a_person(guarded: Make) -> None:
    """Of two that are stronger the strongest decides whether `min_on_s` is waited for."""
    pump = guarded(Limits(min_on_s=600, exclusive_with=frozenset({BACK, THIRD})), EXCLUSIVE["back"])
    pump.limits[THIRD] = Limits(exclusive_with=frozenset({MAIN}))
    pump.observed.pins["pump"]["third"] = {"safe": 0}
    running(pump)
    pump.report(THIRD, 0)
    ana = Claim(*BACK, PERSON, 1, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert pump.claims.hold(ana, pump.now_s) == []
    assert pump.value(MAIN) == 1
    assert forced(pump.fire("flood", THIRD, slot="safety"), MAIN) == [(0, True)]
    assert pump.held(MAIN) == ("exclusive_with", None)


def test_an_emergency_that_cannot_run_ends_nothing(guarded: Make) -> None:
    """`max_on_s` keeps it off: two pumps would stand still."""
    pump = guarded(
        replace(EXCLUSIVE["main"], min_on_s=600), Limits(max_on_s=60, exclusive_with=EXCLUSIVE["back"].exclusive_with)
    )
    pump.report(MAIN, 0)
    pump.fire("flood", BACK, slot="safety")
    pump.report(BACK, 1)
    pump.later(60)
    assert pump.held(BACK) == ("max_on_s", None)
    pump.now_s += 1
    pump.report(BACK, 0)
    assert [(one.pin, one.value) for one in pump.fire("a", MAIN)] == [("main", 1)]


@pytest.mark.parametrize("slot", ["safety", "alert"])
def test_what_is_only_rehearsed_switches_no_real_pin_off(guarded: Make, slot: str) -> None:
    """A pin in dry-run takes its turn on paper."""
    pump = guarded(replace(EXCLUSIVE["main"]), EXCLUSIVE["back"])
    pump.holds._dry_run = lambda pin: pin == BACK
    pump.fire("t", MAIN, slot="timer")
    pump.report(MAIN, 1)
    pump.fire("flood", BACK, slot=slot)
    assert (pump.value(MAIN), pump.held(MAIN)) == (1, None)
