"""Limits that a device, or somebody for it, declares."""

from collections.abc import Callable

import pytest

from tests.webhook.guarded import Guarded
from webhook.guards import Limits

MAIN, BACK = ("pump", "main"), ("pump", "back")
LEASE_S = 300


def test_guards_of_other_firmware_hold_before_its_device_has_told(guarded: Callable[..., Guarded]) -> None:
    """It keeps none itself: after a restart while the broker is away its compressor must not start too soon either."""
    pump = guarded(Limits())
    pump.foreign[MAIN] = {"min_off_s": 600}
    pump.fire("a")
    pump.end("a")
    pump.restart()
    pump.observed.pins.clear()
    pump.fire("b")
    assert (pump.value(), pump.held()) == (None, ("min_off_s", 600))


def test_what_a_device_declared_holds_also_before_it_tells_again(guarded: Callable[..., Guarded]) -> None:
    """After a restart, with a broker that is away or has lost the info."""
    pump = guarded(Limits())
    pump.observed.pins["pump"] = {"main": {"safe": 0, "min_off_s": 600}, "back": {"safe": 2, "max_on_s": 900}}
    pump.fire("dry")
    pump.fire("wet", BACK)
    pump.end("dry")
    for name in ("again", "once more"):
        pump.restart()
        pump.observed.pins.clear()
        pump.fire(name)
        assert (pump.value(), pump.held()) == (None, ("min_off_s", 600))
    pump.later(600)
    assert (pump.value(), pump.held()) == (1, None)
    pump.later(300)
    assert (pump.value(BACK), pump.held(BACK)) == (2, ("max_on_s", None))


def test_what_a_device_declares_no_more_is_forgotten(guarded: Callable[..., Guarded]) -> None:
    """What it says now counts, also after the next restart."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"]["min_off_s"] = 600
    pump.fire("dry")
    pump.end("dry")
    del pump.observed.pins["pump"]["main"]["min_off_s"]
    pump.fire("again")
    assert pump.value() == 1
    pump.end("again")
    pump.restart()
    pump.observed.pins.clear()
    pump.fire("once more")
    assert pump.value() == 1


def test_limits_that_a_device_declares_count_without_a_file(guarded: Callable[..., Guarded]) -> None:
    """Other firmware has nobody else to keep them."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"]["min_off_s"] = 30
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    assert pump.held() == ("min_off_s", 30)


@pytest.mark.parametrize(("limit", "last"), [("min_off_s", "b"), ("max_on_s", "a")])
def test_what_waits_for_a_declared_limit_waits_for_its_time_also_before_its_device_tells_again(
    guarded: Callable[..., Guarded], limit: str, last: str
) -> None:
    """After a restart while the broker is away; a trip and a pause outlive that."""
    pump = guarded(Limits())
    pump.observed.pins["pump"]["main"] = {"safe": 0, limit: 30}
    pump.fire("a")
    if limit == "min_off_s":
        pump.end("a")
        pump.fire("b")
    pump.later(31 if limit == "max_on_s" else 1)
    assert (pump.held() or ("none",))[0] == limit
    pump.restart()
    pump.observed.pins.clear()
    assert pump.later(28) == []
    assert pump.fire(last) == []
    assert (pump.held() or ("none",))[0] == limit
    pump.later(1)
    assert pump.value() == (1 if limit == "min_off_s" else 0)


def test_a_limit_that_is_taken_away_holds_nothing_any_more(guarded: Callable[..., Guarded]) -> None:
    """What waited passes at the next start."""
    pump = guarded(Limits(min_off_s=3600))
    pump.fire("a")
    pump.end("a")
    pump.fire("b")
    pump.limits[MAIN] = Limits()
    pump.restart()
    assert [one.value for one in pump.later(0)] == [1]
    assert pump.holds.waiting() == {}
