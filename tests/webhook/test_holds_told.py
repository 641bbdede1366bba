"""What the guards write down: why a pin does what it does, who waits for what, and no more than is needed."""

from collections.abc import Callable

import pytest

from tests.webhook.guarded import LEASE_S, MAIN, Guarded
from webhook.arbiter import PERSON, Claim
from webhook.guards import Limits


def said(pump: Guarded, most: int = 9) -> list[tuple[str, str]]:
    """Return (guard, reason) of the last changes of the pin, the newest first."""
    return [(row["held_by"], row["reason"]) for row in pump.commands.changes(MAIN, most)]


def test_a_pin_that_a_guard_switches_off_says_which(guarded: Callable[..., Guarded]) -> None:
    """And a release that nothing holds back says only whose it is."""
    pump = guarded(Limits(max_on_s=60))
    pump.fire("a")
    pump.later(60)
    assert said(pump, 2) == [("", "guard; held by max_on_s"), ("max_on_s", "guard; held by max_on_s")]
    pump.end("a")
    pump.fire("b")
    pump.end("b")
    assert said(pump, 1) == [("", "b: withdrawn")]


def test_who_waits_in_anothers_place_is_told(guarded: Callable[..., Guarded]) -> None:
    """Since when, and why: the log has a line for each."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.end("a")
    for name in "bc":
        pump.fire(name)
        pump.now_s += 10
    pump.end("b")
    waiting = pump.holds.of(MAIN)
    assert waiting is not None
    assert (waiting.source, waiting.since_s, waiting.cause) == ("c", pump.now_s, "b: withdrawn")
    assert [reason for guard, reason in said(pump) if guard] == [
        "b: withdrawn; held by min_off_s",
        "b: claimed; held by min_off_s",
    ]


def test_a_wish_that_passes_one_guard_and_meets_another_is_told(guarded: Callable[..., Guarded]) -> None:
    """It has rested long enough, and has started too often."""
    pump = guarded(Limits(min_off_s=60, max_switches_per_h=1))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.later(60)
    assert pump.held() == ("max_switches_per_h", 3540)
    assert [guard for guard, _ in said(pump) if guard] == ["max_switches_per_h", "min_off_s"]


def test_a_claim_for_off_has_its_whole_lease_where_a_run_is_bounded(guarded: Callable[..., Guarded]) -> None:
    """`max_on_s` ends runs; what keeps a pin off would be sent again and again."""
    pump = guarded(Limits(max_on_s=60))
    pump.fire("a")
    pump.now_s += 59
    ana = Claim(*MAIN, PERSON, 0, "manual", "ana", pump.now_s, pump.now_s + 3600)
    assert [(one.value, one.ttl_s) for one in pump.claims.hold(ana, pump.now_s)] == [(0, LEASE_S)]
    pump.now_s += 100
    assert [(one.value, one.ttl_s) for one in pump.claims.reissue([MAIN], pump.now_s)] == [(0, LEASE_S)]


def test_what_was_wanted_off_until_now_does_not_start_sooner_than_it_may(guarded: Callable[..., Guarded]) -> None:
    """A person's "off" has run out, and an alert wants it on: only an end that nobody asked for is urgent, no start."""
    pump = guarded(Limits(min_off_s=120))
    pump.fire("a")
    pump.now_s += 10
    ana = Claim(*MAIN, PERSON, 0, "manual", "ana", pump.now_s, pump.now_s + 30)
    pump.claims.hold(ana, pump.now_s)
    pump.now_s += 30
    assert pump.claims.expire(pump.now_s) == []
    assert (pump.value(), pump.held()) == (0, ("min_off_s", 90))


@pytest.mark.parametrize("step_s", [-86400, 86400])
def test_starts_are_counted_by_a_clock_that_is_set(guarded: Callable[..., Guarded], step_s: float) -> None:
    """Neither forgotten, nor counted for a day."""
    pump = guarded(Limits(max_switches_per_h=1))
    pump.fire("a")
    pump.now_s += 600
    pump.end("a")
    pump.now_s += step_s
    pump.claims.shift(step_s, pump.now_s)
    pump.fire("b")
    assert pump.held() == ("max_switches_per_h", 3000)


def test_starts_that_no_guard_counts_any_more_are_forgotten(guarded: Callable[..., Guarded]) -> None:
    """A disk that runs for years; those of the last hour stay."""
    pump = guarded(Limits(max_switches_per_h=9))
    for name in "abc":
        pump.fire(name)
        pump.end(name)
        pump.now_s += 1500
    pump.claims.prune(pump.now_s)
    rows = pump.database.connection.execute("SELECT at_s FROM starts ORDER BY at_s").fetchall()
    assert [pump.now_s - row["at_s"] for row in rows] == [3000, 1500]


def test_what_waited_under_an_earlier_version_waits_until_its_device_tells(guarded: Callable[..., Guarded]) -> None:
    """That one did not write down what devices declare: a compressor must not start because of the update."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"]["min_off_s"] = 60
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.database.connection.execute("DELETE FROM declared_limits")
    pump.restart()
    declared = pump.observed.pins.pop("pump")
    assert pump.later(10) == []
    assert (pump.held() or ("",))[0] == "min_off_s"
    pump.observed.pins["pump"] = declared
    declared["main"]["min_off_s"] = 60
    assert pump.fire("b") == []
    assert pump.held() == ("min_off_s", 50)
    assert [one.value for one in pump.later(50)] == [1]
