"""Guards between claims and commands, in a real database: what waits, what passes by itself, what survives."""

from collections.abc import Callable

import pytest

from tests.webhook.guarded import Guarded
from webhook.arbiter import PERSON, Claim
from webhook.dialects import UNKNOWN
from webhook.guards import Limits

MAIN, BACK = ("pump", "main"), ("pump", "back")
LEASE_S = 300


def test_a_compressor_runs_its_minimum_and_then_stops_by_itself(guarded: Callable[..., Guarded]) -> None:
    """The release waits, its lease ends with the wait, and the log says why."""
    pump = guarded(Limits(min_on_s=180))
    pump.fire("cold")
    pump.now_s += 30
    assert [(one.value, one.ttl_s) for one in pump.end("cold")] == [(1, 155)]
    assert (pump.value(), pump.held()) == (1, ("min_on_s", 150))
    renewed = pump.claims.reissue([MAIN], pump.now_s)
    assert [(one.value, one.ttl_s, one.source) for one in renewed] == [(1, 155, "cold")]
    assert pump.later(149) == []
    assert [one.value for one in pump.later(1)] == [None]
    assert pump.held() is None
    assert [(row["value"], row["reason"], row["held_by"]) for row in pump.commands.changes(MAIN, 10)] == [
        (None, "cold: withdrawn; min_on_s passed", ""),
        (None, "cold: withdrawn; held by min_on_s", "min_on_s"),
        (1, "cold: claimed", ""),
    ]


def test_an_off_from_before_it_was_switched_on_does_not_cut_a_minimum_run(guarded: Callable[..., Guarded]) -> None:
    """Only a later one says that there is no run to protect."""
    pump = guarded(Limits(min_on_s=180))
    pump.report(MAIN, 0)
    pump.now_s += 1
    pump.fire("cold")
    pump.now_s += 1
    pump.report(MAIN, 1)
    pump.now_s += 29
    assert [one.value for one in pump.end("cold")] == [1]
    pump.report(MAIN, 0)
    assert [one.value for one in pump.claims.reissue([MAIN], pump.now_s)] == [None]


def test_a_released_pin_runs_when_on_is_its_default(guarded: Callable[..., Guarded]) -> None:
    """A fridge: what nobody claims is on, and stays on for its minimum."""
    pump = guarded(Limits(min_on_s=180))
    pump.observed.pins["pump"]["main"] = {"safe": 0, "default": 1}
    pump.fire("peak", value=0)
    pump.now_s += 600
    pump.end("peak")
    pump.now_s += 30
    assert pump.fire("again", value=0) == []
    assert pump.held() == ("min_on_s", 150)


def test_a_pump_rests_and_starts_again_by_itself(guarded: Callable[..., Guarded]) -> None:
    """Repetitions of the alert neither shorten the rest nor fill the log."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("dry")
    pump.now_s += 10
    pump.end("dry")
    pump.now_s += 20
    assert pump.fire("again") == []
    for _ in range(3):
        pump.now_s += 10
        assert pump.fire("again") == []
    assert (pump.value(), pump.held()) == (None, ("min_off_s", 70))
    assert [row["held_by"] for row in pump.commands.changes(MAIN, 9)] == ["min_off_s", "", ""]
    assert [(one.value, one.source) for one in pump.later(70)] == [(1, "again")]


def test_a_wish_that_ends_while_it_waits_leaves_nothing(guarded: Callable[..., Guarded]) -> None:
    """Nobody wants it any more: it is not switched on later."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    assert pump.held() == ("min_off_s", 120)
    assert pump.end("b") == []
    assert pump.held() is None
    assert pump.later(1000) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_run_that_was_too_long_ends_until_nobody_wants_it_any_more(
    guarded: Callable[..., Guarded], restarted: bool
) -> None:
    """As on the device: renewals and other claims do not start it again; also across a restart."""
    pump = guarded(Limits(max_on_s=600))
    pump.fire("a")
    assert pump.later(599) == []
    if restarted:
        pump.restart()
    assert [(one.value, one.slot, one.source) for one in pump.later(1)] == [(0, "alert", "a")]
    if restarted:
        pump.restart()
    pump.fire("b", slot="safety")
    assert (pump.value(), pump.held()) == (0, ("max_on_s", None))
    assert pump.later(7200) == []
    pump.end("a")
    assert pump.held() == ("max_on_s", None)
    pump.end("b")
    assert (pump.value(), pump.held()) == (None, None)
    assert [one.value for one in pump.fire("c")] == [1]


def test_a_pin_starts_no_more_often_than_it_may(guarded: Callable[..., Guarded]) -> None:
    """In any hour, not in any hour of the clock; switching off is never counted against it."""
    pump = guarded(Limits(max_switches_per_h=2))
    for name in ("a", "b"):
        pump.fire(name)
        pump.now_s += 60
        pump.end(name)
        pump.now_s += 60
    assert pump.fire("c") == []
    assert pump.held() == ("max_switches_per_h", 3600 - 240)
    pump.restart()
    assert pump.later(3600 - 241) == []
    assert [one.value for one in pump.later(1)] == [1]


def test_expiry_unknown_ends_and_safety_do_not_wait_for_min_on(guarded: Callable[..., Guarded]) -> None:
    """A minimum run spares a machine; it never keeps one on when nobody is there to stop it."""
    pump = guarded(Limits(min_on_s=3600))
    pump.fire("a")
    pump.now_s += 301
    assert [one.value for one in pump.claims.expire(pump.now_s)] == [None]
    pump.now_s += 10
    pump.fire("b")
    assert [one.value for one in pump.end("b", status=UNKNOWN)] == [0]
    pump.fire("c")
    stop = Claim(*MAIN, PERSON, 0, "safety", "ana", pump.now_s, pump.now_s + 60)
    assert [(one.value, one.slot) for one in pump.claims.hold(stop, pump.now_s)] == [(0, "safety")]


def test_a_person_waits_like_everybody(guarded: Callable[..., Guarded]) -> None:
    """Slot manual wins over alerts, not over guards: on a device's own guards it could not either."""
    pump = guarded(Limits(min_on_s=60))
    pump.fire("a")
    ana = Claim(*MAIN, PERSON, 0, "manual", "ana", pump.now_s, pump.now_s + 600)
    assert [(one.value, one.ttl_s) for one in pump.claims.hold(ana, pump.now_s)] == [(1, 65)]
    assert pump.held() == ("min_on_s", 60)
    assert [(one.value, one.source) for one in pump.later(60)] == [(0, "ana")]


def test_a_trip_is_not_forgiven_because_somebody_wants_it_off_for_a_moment(guarded: Callable[..., Guarded]) -> None:
    """A float switch that chatters would let the pump run for ever; once nobody wants it on, a claim starts it."""
    pump = guarded(Limits(max_on_s=600))
    pump.fire("a")
    pump.later(601)
    pump.fire("dry", value=0, slot="safety")
    pump.later(1)
    pump.end("dry")
    assert (pump.value(), pump.held()) == (0, ("max_on_s", None))
    pump.fire("dry again", value=0, slot="safety")
    pump.end("a")
    pump.end("dry again")
    pump.fire("b")
    assert (pump.value(), pump.held()) == (1, None)


def test_what_is_switched_just_after_the_clock_was_set_forward_is_not_moved_into_the_future(
    guarded: Callable[..., Guarded],
) -> None:
    """The step is noticed 0.2 s later: a pin must not have to stay on for a day because of it."""
    pump = guarded(Limits(min_on_s=60, max_switches_per_h=1))
    pump.fire("a")
    pump.claims.shift(86400, pump.now_s)
    pump.later(60)
    pump.end("a")
    pump.fire("b")
    assert (pump.value(), pump.held()) == (None, ("max_switches_per_h", 3540))


def test_a_clock_that_is_set_moves_what_waits(guarded: Callable[..., Guarded]) -> None:
    """A rest lasts as long as before."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.claims.shift(-86400)
    pump.now_s -= 86400
    assert pump.later(0) == []
    assert pump.held() == ("min_off_s", 120)
    assert [one.value for one in pump.later(120)] == [1]
